#include "team.h"

#include <pthread.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace bitnet::train {
namespace {

// Round to nearest even, subnormals kept; a thread may have inherited another mode.
#if defined(__x86_64__)
uint32_t floatMode() { return _mm_getcsr(); }
void setFloatMode(uint32_t mode) { _mm_setcsr(mode); }
constexpr uint32_t standardMode = 0x1f80;
#elif defined(__aarch64__)
uint64_t floatMode() {
  uint64_t mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
void setFloatMode(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
constexpr uint64_t standardMode = 0;
#else
int floatMode() { return 0; }
void setFloatMode(int) {}
constexpr int standardMode = 0;
#endif

// Looks so often before it sleeps: operations follow each other at once.
constexpr int spins = 2000;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

struct Team::Start {
  Team* team;
  int thread;
};

Team& Team::instance() {
  static Team* team = new Team();
  return *team;
}

int Team::resize(int threads) {
  const int wanted = threads < 1 ? 1 : threads > maxThreads ? maxThreads : threads;
  while (nStarted_ < wanted) {
    auto* start = new Start{this, nStarted_};
    pthread_t id;
    if (pthread_create(&id, nullptr, helperMain, start) != 0) {
      delete start;
      break;
    }
    pthread_detach(id);
    nStarted_++;
  }
  threads_ = wanted < nStarted_ ? wanted : nStarted_;
  return threads_;
}

void* Team::helperMain(void* argument) {
  const Start start = *static_cast<Start*>(argument);
  delete static_cast<Start*>(argument);
  setFloatMode(standardMode);
  Team& team = *start.team;
  uint32_t seen = 0;
  for (;;) {
    uint32_t round = team.round_.load(std::memory_order_acquire);
    for (int i = 0; round == seen && i < spins; i++) {
      pause();
      round = team.round_.load(std::memory_order_acquire);
    }
    if (round == seen) {
      team.round_.wait(seen, std::memory_order_acquire);
      continue;
    }
    seen = round;
    if (start.thread >= team.threads_) continue;
    team.takeParts(start.thread);
    if (team.nBusy_.fetch_sub(1, std::memory_order_acq_rel) == 1) team.nBusy_.notify_one();
  }
}

void Team::takeParts(int thread) {
  for (int i = next_.fetch_add(1, std::memory_order_relaxed); i < nParts_; i = next_.fetch_add(1, std::memory_order_relaxed)) (*part_)(i, thread);
}

void Team::run(int n, const std::function<void(int, int)>& part) {
  const auto before = floatMode();
  setFloatMode(standardMode);
  if (threads_ == 1 || n <= 1) {
    for (int i = 0; i < n; i++) part(i, 0);
  } else {
    part_ = &part;
    nParts_ = n;
    next_.store(0, std::memory_order_relaxed);
    nBusy_.store(static_cast<uint32_t>(threads_ - 1), std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    takeParts(0);
    uint32_t busy = nBusy_.load(std::memory_order_acquire);
    for (int i = 0; busy != 0 && i < spins; i++) {
      pause();
      busy = nBusy_.load(std::memory_order_acquire);
    }
    while (busy != 0) {
      nBusy_.wait(busy, std::memory_order_acquire);
      busy = nBusy_.load(std::memory_order_acquire);
    }
  }
  setFloatMode(before);
}

}  // namespace bitnet::train
