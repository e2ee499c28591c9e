// The threads that run one job together, and what they run. Whose threads these are is the pool's affair: pool.h, or wasm/pool.h.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace bitnet::engine {

class Job;

// The threads that run one job.
class Team {
 public:
  int size() const { return size_; }
  // Returns when all threads of the job have arrived. True when the job is to stop; all threads get the same answer. Who arrives
  // last calls `last` before the others go on.
  template <class Fn>
  bool barrier(Fn last) {
    const uint32_t phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(size_)) {
      last();
      release(phase);
    } else {
      waitWhile(phase_, phase);
    }
    return stop_;
  }
  bool barrier() {
    return barrier([] {});
  }

 private:
  friend class Pool;

  void release(uint32_t phase);
  void waitWhile(const std::atomic<uint32_t>& word, uint32_t old);

  Job* job_ = nullptr;
  int size_ = 1;
  // How long a wait spins before it sleeps: more where spinning has paid, less where somebody else has the core that is waited for.
  std::atomic<int64_t> spinNanoseconds_{0};
  bool stop_ = false;  // written by the last to arrive, read by the others after it
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
  alignas(64) std::atomic<uint32_t> running_{0};  // helpers that have not left the job
};

class Job {
 public:
  // `owner`: what `Pool::cancel` names.
  explicit Job(const void* owner) : owner_(owner) {}
  virtual ~Job() = default;
  // Called by each thread of the team, `thread` being 0 … size − 1.
  virtual void run(Team& team, int thread) = 0;
  // Asked at each barrier, by one thread, while the others wait.
  virtual bool shouldStop() = 0;
  // Called once, by the dispatcher after `run` or by the canceller instead of it. May free the job.
  virtual void done(bool cancelled) = 0;

 protected:
  // How many threads the job is to have; it gets fewer where the pool has fewer.
  void askForThreads(int threads) { threads_ = threads; }

 private:
  friend class Pool;
  int threads_ = 1;
  const void* owner_;
  Job* next_ = nullptr;
};

}  // namespace bitnet::engine
