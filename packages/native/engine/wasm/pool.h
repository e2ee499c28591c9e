// The threads of one WebAssembly memory: the coordinator, who runs jobs, and helpers, each a worker that JavaScript has started and that
// stays in `help` until it is dismissed. There is no queue: whoever calls from outside waits for the answer to its message.
#pragma once
#include "../team.h"

namespace bitnet::engine {

class Pool {
 public:
  static Pool& instance();

  // How many helpers are there, or about to arrive.
  void setHelpers(int n) { nHelpers_ = n; }
  // Runs a job on this thread and as many helpers as it asks for.
  void run(Job& job);
  // A helper's life, `index` being 1 ….
  void help(int index);
  // Lets all helpers return, no job running; there is none after it. A worker that sleeps here is ended by browsers only when they lose patience
  // (Chrome: after 2 s), and keeps the whole memory until then.
  void dismiss();

 private:
  static constexpr int maxTeam = 256;
  struct alignas(64) Ticket {
    std::atomic<uint32_t> next{0};
  };

  int nHelpers_ = 0;
  bool isDismissed_ = false;  // written before the tickets, read after them
  Ticket tickets_[maxTeam];
  Team team_;
};

}  // namespace bitnet::engine
