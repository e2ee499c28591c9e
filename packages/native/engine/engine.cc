#include "engine.h"

#include <cstring>

namespace bitnet::engine {
namespace {

class WaitedFor : public StepJob {
 public:
  WaitedFor(Executable& executable, const std::atomic<bool>& closing) : StepJob(executable, this, closing) {}
  void done(bool) override {
    isDone_.store(true, std::memory_order_release);
    isDone_.notify_one();
  }
  void wait() const { isDone_.wait(false, std::memory_order_acquire); }

 private:
  std::atomic<bool> isDone_{false};
};

}  // namespace

bool runStep(Executable& executable, const int32_t* words, size_t nWords, Array<int32_t>& result, Failure& failure) {
  const std::atomic<bool> closing{false};

  auto* const job = create<WaitedFor>(executable, closing);
  if (!job) return failure.set(Code::OutOfMemory, "no memory for a step");
  if (job->prepare(words, nWords)) {
    Pool::instance().submit(job);
    job->wait();
    // Returns once the dispatcher has left the job.
    Pool::instance().cancel(job);
  }
  failure = job->failure();
  if (failure.code == Code::None && !result.allocate(job->result().size())) failure.set(Code::OutOfMemory, "no memory for a result");
  if (failure.code == Code::None && result.bytes() > 0) std::memcpy(result.data(), job->result().data(), result.bytes());
  destroy(job);
  return failure.code == Code::None;
}

}  // namespace bitnet::engine
