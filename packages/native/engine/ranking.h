// The order of candidates (numerics: ranking) and a bounded set of the best ones.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace bitnet::engine {

struct Candidate {
  float value;
  int32_t id;
};

// Higher value first; equal values: lower id first.
inline bool ranksBefore(const Candidate& a, const Candidate& b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

// The best `room` ≥ 1 of the candidates offered, kept in the caller's memory as a heap with the worst in front.
class BestOf {
 public:
  BestOf(Candidate* heap, size_t room) : heap_(heap), room_(room) {}

  // Ids must be offered in ascending order.
  void offer(Candidate candidate) {
    if (count_ == room_) {
      if (!(candidate.value > heap_[0].value)) return;
      std::pop_heap(heap_, heap_ + count_--, ranksBefore);
    }
    heap_[count_++] = candidate;
    std::push_heap(heap_, heap_ + count_, ranksBefore);
  }
  // Whether no candidate of this value or a lower one can enter any more.
  bool isClosedTo(float value) const { return count_ == room_ && value <= heap_[0].value; }
  size_t count() const { return count_; }

 private:
  Candidate* heap_;
  size_t room_;
  size_t count_ = 0;
};

inline bool isRanked(const uint32_t* ranked, int32_t id) { return !ranked || (ranked[id >> 5] >> (id & 31) & 1) != 0; }

}  // namespace bitnet::engine
