#include "pool.h"

namespace bitnet::engine {
namespace {

// Turns of a waiting loop before it sleeps; wasm has neither a pause instruction nor a clock of its own. About 0.2 ms, where a turn is a load.
constexpr int32_t longestSpin = 1 << 16;
constexpr int32_t shortestSpin = 1 << 8;
// Between two steps the other threads of the page want a core.
constexpr int32_t idleSpin = 1 << 13;

bool spinWhile(const std::atomic<uint32_t>& word, uint32_t old, int64_t turns) {
  for (int64_t i = 0; i < turns; i++)
    if (word.load(std::memory_order_acquire) != old) return true;
  return false;
}

int32_t* addressOf(const std::atomic<uint32_t>& word) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(int32_t));
  return reinterpret_cast<int32_t*>(const_cast<std::atomic<uint32_t>*>(&word));
}

void sleepWhile(const std::atomic<uint32_t>& word, uint32_t old) {
  while (word.load(std::memory_order_acquire) == old) __builtin_wasm_memory_atomic_wait32(addressOf(word), static_cast<int32_t>(old), -1);
}

void wakeAll(std::atomic<uint32_t>& word) { __builtin_wasm_memory_atomic_notify(addressOf(word), UINT32_MAX); }

}  // namespace

void Team::waitWhile(const std::atomic<uint32_t>& word, uint32_t old) {
  const int64_t spin = spinNanoseconds_.load(std::memory_order_relaxed);  // turns, here
  if (spinWhile(word, old, spin)) {
    if (spin < longestSpin) spinNanoseconds_.store(2 * spin, std::memory_order_relaxed);
    return;
  }
  spinNanoseconds_.store(spin / 2 < shortestSpin ? shortestSpin : spin / 2, std::memory_order_relaxed);
  sleepWhile(word, old);
}

void Team::release(uint32_t phase) {
  arrived_.store(0, std::memory_order_relaxed);
  stop_ = job_->shouldStop();
  phase_.store(phase + 1, std::memory_order_release);
  if (size_ > 1) wakeAll(phase_);
}

// Never destroyed, and made without a guard: the coordinator comes first.
static Pool thePool;

Pool& Pool::instance() { return thePool; }

void Pool::run(Job& job) {
  team_.size_ = job.threads_ < nHelpers_ + 1 ? job.threads_ : nHelpers_ + 1;
  team_.job_ = &job;
  team_.stop_ = false;
  team_.spinNanoseconds_.store(longestSpin, std::memory_order_relaxed);
  const int helpers = team_.size_ - 1;
  team_.running_.store(static_cast<uint32_t>(helpers), std::memory_order_relaxed);
  for (int i = 1; i <= helpers; i++) {
    tickets_[i].next.fetch_add(1, std::memory_order_release);
    wakeAll(tickets_[i].next);
  }
  job.run(team_, 0);
  for (uint32_t left = team_.running_.load(std::memory_order_acquire); left != 0; left = team_.running_.load(std::memory_order_acquire))
    team_.waitWhile(team_.running_, left);
}

void Pool::help(int index) {
  std::atomic<uint32_t>& ticket = tickets_[index].next;
  for (uint32_t seen = 0;; seen++) {
    if (!spinWhile(ticket, seen, idleSpin)) sleepWhile(ticket, seen);
    if (isDismissed_) return;
    team_.job_->run(team_, index);
    if (team_.running_.fetch_sub(1, std::memory_order_acq_rel) == 1) wakeAll(team_.running_);
  }
}

void Pool::dismiss() {
  isDismissed_ = true;
  for (int i = 1; i <= nHelpers_; i++) {
    tickets_[i].next.fetch_add(1, std::memory_order_release);
    wakeAll(tickets_[i].next);
  }
}

}  // namespace bitnet::engine
