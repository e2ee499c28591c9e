#include "pool-test.h"

#include <thread>

#include "../pool.h"

namespace bitnet::test {
namespace {

using namespace engine;

constexpr int threads = 3;

// Counts how it ended. Those that hold the pool do so until they are let go.
class TestJob : public Job {
 public:
  TestJob(const void* owner, bool holds) : Job(owner), holds_(holds) { askForThreads(threads); }
  void run(Team& team, int thread) override {
    hasBegun.store(true);
    hasBegun.notify_all();
    if (holds_ && thread == 0) mayEnd.wait(false);
    for (int round = 1; round <= rounds; round++) {
      arrived.fetch_add(1);
      if (team.barrier()) return;
      // Nobody is past the barrier before all have come.
      if (arrived.load() < round * team.size()) isTorn.store(true);
      if (team.barrier()) return;
    }
  }
  bool shouldStop() override { return false; }
  void done(bool cancelled) override {
    outcome.store(cancelled ? 2 : 1);
    outcome.notify_all();
  }
  void letGo() {
    mayEnd.store(true);
    mayEnd.notify_all();
  }
  void awaitBegin() const { hasBegun.wait(false); }
  int awaitEnd() const {
    outcome.wait(0);
    return outcome.load();
  }

  static constexpr int rounds = 20;
  std::atomic<int> arrived{0}, outcome{0};  // outcome: 1 it ran, 2 it was cancelled
  std::atomic<bool> hasBegun{false}, mayEnd{false}, isTorn{false};

 private:
  const bool holds_;
};

}  // namespace

void testPool(Report& report) {
  Pool& pool = Pool::instance();
  report.check(pool.reserve(threads) == threads, "pool", "gives the threads that it is asked for");
  const int mine = 0, other = 0;
  for (int repeat = 0; repeat < 30; repeat++) {
    TestJob running(&mine, true), first(&mine, false), kept(&other, false), last(&mine, false), after(&other, false);
    pool.submit(&running);
    running.awaitBegin();
    for (TestJob* job : {&first, &kept, &last}) pool.submit(job);
    std::atomic<bool> hasReturned{false};
    std::thread canceller([&] {
      pool.cancel(&mine);
      hasReturned.store(true);
    });
    // Cancelling takes waiting jobs out before it waits for the one that runs; that one decides when it may return.
    report.check(!hasReturned.load(), "pool", "cancelling waits for a job that runs");
    running.letGo();
    canceller.join();
    report.check(running.outcome.load() == 1, "pool", "a job that runs is not cancelled, and has ended when cancelling returns");
    report.check(running.arrived.load() == TestJob::rounds * threads && !running.isTorn.load(), "pool", "barriers hold every thread");
    report.check(first.awaitEnd() != 0 && last.awaitEnd() != 0, "pool", "every job ends");
    report.check(kept.awaitEnd() == 1, "pool", "jobs of others run");
    // The queue's end was taken out: what is submitted next must still be found.
    pool.submit(&after);
    report.check(after.awaitEnd() == 1, "pool", "a job submitted after cancelling runs");
    pool.cancel(&other);
  }

  // Behind a job of somebody else, what is cancelled never runs.
  TestJob running(&other, true), waiting(&mine, false), kept(&other, false), tail(&mine, false), after(&other, false);
  pool.submit(&running);
  running.awaitBegin();
  for (TestJob* job : {&waiting, &kept, &tail}) pool.submit(job);
  pool.cancel(&mine);
  report.check(waiting.outcome.load() == 2 && tail.outcome.load() == 2, "pool", "waiting jobs are cancelled at once");
  // Behind what was kept, which is the queue's end now.
  pool.submit(&after);
  running.letGo();
  report.check(after.awaitEnd() == 1 && running.awaitEnd() == 1, "pool", "others go on");
  report.check(kept.outcome.load() == 1, "pool", "what is submitted after cancelling comes behind what was kept");
  pool.cancel(&other);
  report.check(!waiting.hasBegun.load() && !tail.hasBegun.load(), "pool", "cancelled jobs do not run");

  // Where nothing is kept, the queue is empty: what comes next begins a new one.
  TestJob holder(&other, true), only(&mine, false), next(&other, false);
  pool.submit(&holder);
  holder.awaitBegin();
  pool.submit(&only);
  pool.cancel(&mine);
  pool.submit(&next);
  holder.letGo();
  report.check(next.awaitEnd() == 1, "pool", "what is submitted after all waiting jobs were cancelled runs");
  pool.cancel(&other);
}

}  // namespace bitnet::test
