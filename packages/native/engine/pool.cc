#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <new>

#include "float-mode.h"

namespace bitnet::engine {
namespace {

// A few times what a sleeping thread takes to wake.
constexpr int64_t longestSpin = 200'000;
constexpr int64_t shortestSpin = 1'000;
// Between two steps the JavaScript thread wants a core.
constexpr int64_t idleSpin = 30'000;

int64_t nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// True when `word` changed from `old` within the time.
bool spinWhile(const std::atomic<uint32_t>& word, uint32_t old, int64_t time) {
  const int64_t end = nanoseconds() + time;
  do {
    for (int i = 0; i < 32; i++) {
      if (word.load(std::memory_order_acquire) != old) return true;
      relax();
    }
  } while (nanoseconds() < end);
  return false;
}

int coreCount() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<int>(online) : 1;
}

// Leaves the process's signals to its other threads, all but those that a thread brings upon itself.
bool startThread(void* (*main)(void*), void* argument) {
  sigset_t blocked, before;
  sigfillset(&blocked);
  for (const int own : {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) sigdelset(&blocked, own);
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  pthread_t thread;
  const bool started = pthread_create(&thread, nullptr, main, argument) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (started) pthread_detach(thread);
  return started;
}

void nameThread(int index) {
  char name[16];
  snprintf(name, sizeof name, "bitnet-%d", index);
#if defined(__APPLE__)
  pthread_setname_np(name);
#elif defined(__linux__)
  pthread_setname_np(pthread_self(), name);
#endif
}

}  // namespace

void Team::waitWhile(const std::atomic<uint32_t>& word, uint32_t old) {
  const int64_t spin = spinNanoseconds_.load(std::memory_order_relaxed);
  if (spinWhile(word, old, spin)) {
    if (spin < longestSpin) spinNanoseconds_.store(2 * spin, std::memory_order_relaxed);
    return;
  }
  spinNanoseconds_.store(spin / 2 < shortestSpin ? shortestSpin : spin / 2, std::memory_order_relaxed);
  word.wait(old, std::memory_order_acquire);
}

void Team::release(uint32_t phase) {
  arrived_.store(0, std::memory_order_relaxed);
  stop_ = job_->shouldStop();
  phase_.store(phase + 1, std::memory_order_release);
  if (size_ > 1) phase_.notify_all();
}

struct Pool::Helper {
  Pool* pool;
  int index;  // 1 …, the dispatcher being 0
  alignas(64) std::atomic<uint32_t> ticket{0};
};

Pool& Pool::instance() {
  static Pool* pool = new Pool;
  return *pool;
}

int Pool::reserve(int threads) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!dispatcherStarted_) dispatcherStarted_ = startThread(dispatcherMain, this);
  if (!dispatcherStarted_) return 0;
  while (nHelpers_ + 1 < threads && nHelpers_ + 1 < maxTeam) {
    Helper* helper = new (std::nothrow) Helper{this, nHelpers_ + 1};
    if (!helper) break;
    if (!startThread(helperMain, helper)) {
      delete helper;
      break;
    }
    helpers_[nHelpers_++] = helper;
  }
  return threads < nHelpers_ + 1 ? threads : nHelpers_ + 1;
}

void Pool::submit(Job* job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    job->next_ = nullptr;
    (last_ ? last_->next_ : first_) = job;
    last_ = job;
    nQueued_.fetch_add(1, std::memory_order_release);
  }
  queued_.notify_one();
}

void Pool::cancel(const void* owner) {
  Job* cancelled = nullptr;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    Job** link = &first_;
    last_ = nullptr;
    while (Job* job = *link) {
      if (job->owner_ != owner) {
        last_ = job;
        link = &job->next_;
        continue;
      }
      *link = job->next_;
      job->next_ = cancelled;
      cancelled = job;
      nQueued_.fetch_sub(1, std::memory_order_release);
    }
    idle_.wait(lock, [&] { return !busy_ || busyOwner_ != owner; });
  }
  while (Job* job = cancelled) {
    cancelled = job->next_;
    job->done(true);
  }
}

void* Pool::dispatcherMain(void* pool) {
  nameThread(0);
  setFloatMode(standardFloatMode);
  static_cast<Pool*>(pool)->dispatch();
}

void Pool::dispatch() {
  for (;;) {
    Job* job = take();
    runJob(job);
    job->done(false);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      busy_ = false;
    }
    idle_.notify_all();
  }
}

Job* Pool::take() {
  // With a core to spare the next step is likely to come before a sleep would have paid.
  if (team_.size_ < coreCount()) spinWhile(nQueued_, 0, idleSpin);
  std::unique_lock<std::mutex> lock(mutex_);
  queued_.wait(lock, [&] { return first_ != nullptr; });
  Job* job = first_;
  first_ = job->next_;
  if (!first_) last_ = nullptr;
  nQueued_.fetch_sub(1, std::memory_order_relaxed);
  busy_ = true;
  busyOwner_ = job->owner_;
  return job;
}

void Pool::runJob(Job* job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    team_.size_ = job->threads_ < nHelpers_ + 1 ? job->threads_ : nHelpers_ + 1;
  }
  team_.job_ = job;
  team_.stop_ = false;
  // With more threads than cores somebody waits for the spinner.
  team_.spinNanoseconds_.store(team_.size_ > coreCount() ? shortestSpin : longestSpin, std::memory_order_relaxed);
  const uint32_t helpers = static_cast<uint32_t>(team_.size_ - 1);
  team_.running_.store(helpers, std::memory_order_relaxed);
  for (uint32_t i = 0; i < helpers; i++) {
    helpers_[i]->ticket.fetch_add(1, std::memory_order_release);
    helpers_[i]->ticket.notify_one();
  }
  job->run(team_, 0);
  for (uint32_t left = team_.running_.load(std::memory_order_acquire); left != 0; left = team_.running_.load(std::memory_order_acquire)) {
    team_.waitWhile(team_.running_, left);
  }
}

void* Pool::helperMain(void* argument) {
  Helper* helper = static_cast<Helper*>(argument);
  nameThread(helper->index);
  setFloatMode(standardFloatMode);
  Team& team = helper->pool->team_;
  for (uint32_t seen = 0;; seen++) {
    if (!spinWhile(helper->ticket, seen, idleSpin)) helper->ticket.wait(seen, std::memory_order_acquire);
    team.job_->run(team, helper->index);
    if (team.running_.fetch_sub(1, std::memory_order_acq_rel) == 1) team.running_.notify_one();
  }
}

}  // namespace bitnet::engine
