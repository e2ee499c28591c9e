// A loaded program: its weights where they lie, and all memory that its steps need. Built in three moves, so that long work can be
// done in pieces and off the JavaScript thread: `create`, then the bytes of each source in memory, then `finish`.
#pragma once
#include <atomic>

#include "kernels/kernels.h"
#include "kv-arena.h"
#include "mapping.h"
#include "program.h"
#include "screen.h"
#include "step.h"

namespace bitnet::engine {

// What a step has to do, as far as it decides how many threads are worth while.
struct StepSize {
  int64_t nRows, nRequests;
  int64_t nKeys;  // of all rows together
};

// Rows of an activation begin at multiples of 64 bytes. Some hold lanes or strips in steps of many rows, and room for whole ones.
struct F32Rows {
  float* data;
  size_t stride;
  float* row(int32_t i) const { return data + static_cast<size_t>(i) * stride; }
  F32Matrix matrix(int32_t rows, int32_t cols) const { return {data, stride, rows, cols}; }
  F32Rows from(int32_t first, int32_t col) const { return {row(first) + col, stride}; }
  // In lanes (kernels.h), `first` being the first row of a block.
  F32Rows lanesFrom(int32_t first, int32_t col) const { return {row(first) + static_cast<size_t>(stripRows) * static_cast<size_t>(col), stride}; }
};

struct Q8Rows {
  int8_t* data;
  size_t stride;    // the columns padded to a multiple of 128
  float* scales;    // [maxRows] s, where q = x · s
  int32_t* sums;    // [maxRows] of the row's values
  // Sums of 128 columns each, [maxRows, stride / 128]; null unless a weight with group scales reads this buffer.
  int32_t* blockSums;
  // Of a buffer in groups: [maxRows, nGroups] s and 1 / s, and what GroupedRows has. Null otherwise.
  float *groupScales, *reciprocals;
  int8_t* arranged;
  int32_t* offsets;
  int32_t nGroups() const { return static_cast<int32_t>(stride / 128); }
  size_t arrangedOfRow() const { return (stride + 128) / 256 * 256; }
  size_t offsetsOfRow() const { return arrangedOfRow() / 16; }
  GroupedRows grouped(int32_t first, int32_t n) const {
    const size_t at = static_cast<size_t>(first), scaleStride = stride / 128;
    return {arranged + at * arrangedOfRow(), arrangedOfRow(),  reciprocals + at * scaleStride, scaleStride,
            offsets + at * offsetsOfRow(),   offsetsOfRow(), n, nGroups()};
  }
  int8_t* row(int32_t i) const { return data + static_cast<size_t>(i) * stride; }
  // Rows [first, first + n) with their padding.
  Int8Matrix matrix(int32_t first, int32_t n) const { return {row(first), stride, n, static_cast<int32_t>(stride)}; }
};

// What one thread works in.
struct Scratch {
  float* row;       // a normalised row, or what an adapter adds
  float* hidden;    // of an adapter, rank floats
  int32_t* acc;     // accScratch sums
  int32_t* sums;    // a panel's sums of one group
  float* tensorScales;  // of a panel's rows
  int8_t* strips;   // a panel of activations, or of the screen's digits, arranged for the kernels' tiles; null without such kernels
  // Of attention; a tile has at most tileQueries queries, or those of one group.
  float* scores;        // scoreFloats
  float* queries;       // [tile][headDim]
  float* values;        // [2][tile][headDim]
  float* denominators;  // [tile]
  float* page;          // keys or values of one page and head
  float* joined;        // accScratch results, from which the next operation is computed
  float* widened;   // widenedRows rows of the head
  float* logits;    // logitScratch
};

constexpr int32_t accScratch = 16384;
constexpr int32_t maxPanel = 128;      // rows of activations that one ternaryMatmul call takes
constexpr int32_t widenedRows = 4;
constexpr int32_t logitScratch = 4096;
constexpr int32_t headPanel = 32;      // head requests that share one pass over the table
constexpr int32_t headCounters = 8;    // work counters of one such panel
constexpr int32_t valueBlock = 256;    // positions (numerics: values)
constexpr int32_t tileQueries = 64;    // rows times heads that go over the keys together
constexpr size_t tileScores = 1 << 17; // that stay in a second-level cache

// The head requests of a panel that the screen answers, as it needs them.
struct ScreenedPanel {
  int8_t* digits;     // [2 · headPanel, Screen::stride] the high and the low row of each
  int32_t* sums;      // [2 · headPanel] of those
  ScreenFactors* rows;  // [headPanel]
};

// What the draws of a step that go on at the same time work in: keys [draws, 2, vocab] and weights [draws, vocab].
struct DrawRoom {
  Array<uint64_t> keys;
  Array<float> weights;
};

// Head requests since loading, by how they were answered, and table rows that those screened had computed exactly.
struct HeadCounts {
  std::atomic<uint64_t> screened{0}, whole{0}, candidates{0};
};

// How long a kind of request stays away from the screen after too many rows qualified: longer each time, since what made them alike
// (a high temperature, a flat distribution) tends to last.
struct Patience {
  uint32_t left = 0, next = 1;

  // Whether to try now. Called once for each request.
  bool tries() {
    if (left == 0) return true;
    left--;
    return false;
  }
  void tell(bool succeeded) {
    if (succeeded) {
      next = 1;
    } else {
      left = next;
      next = next < 64 ? 2 * next : next;
    }
  }
};

// Operations [first, end) that one thread may run after another for a row, or a single operation of any other kind.
struct Phase {
  int32_t first, end;
  bool rowWise;
  int32_t counters;  // index of the first of its work counters
};

struct alignas(64) WorkCounter {
  std::atomic<uint32_t> next;
};

class Executable {
 public:
  Executable(const Kernels* kernels, LoadLimits limits) : kernels_(kernels), limits_(limits) {}
  ~Executable();
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  // Decodes the program.
  bool create(const EncodedProgram& encoded, Failure& failure);
  // Where a piece of a source in memory is to be written; null where nothing reads the source.
  bool roomOfSource(size_t source, uint64_t offset, size_t n, uint8_t*& room, Failure& failure);
  // Copies such a piece there.
  bool fillSource(size_t source, uint64_t offset, const void* bytes, size_t n, Failure& failure);
  // Uses memory that outlives this and cannot be moved, instead of a copy.
  bool shareSource(size_t source, const void* bytes, size_t n, Failure& failure);
  // Maps the files and makes everything ready. May run on any thread.
  bool finish(Failure& failure);

  bool intact() const;
  EngineNumbers numbers() const;

  const Kernels& kernels() const { return *kernels_; }
  const LoadLimits& limits() const { return limits_; }
  const Program& program() const { return program_; }
  KvArena& arena() { return arena_; }

  const uint8_t* weightBytes(int32_t buffer) const { return views_[index(buffer)].bytes; }
  // The rows of a dense weight.
  DenseMatrix dense(int32_t buffer) const;
  const float* vector(int32_t buffer) const { return views_[index(buffer)].widened; }
  const F32Rows& f32(int32_t buffer) const { return views_[index(buffer)].f32; }
  const Q8Rows& q8(int32_t buffer) const { return views_[index(buffer)].q8; }
  // Whether a step of many rows keeps an f32 activation in lanes, a q8 one in strips.
  bool suitsLanes(int32_t buffer) const { return views_[index(buffer)].suitsLanes; }
  // Where the keys of a KV head begin within an arena page; its values follow `kvHalf` bytes later.
  size_t kvOffset(int32_t buffer) const { return views_[index(buffer)].kvOffset; }
  size_t kvHeadBytes(int32_t buffer) const;
  size_t kvHalf(int32_t buffer) const;

  // False when there is no memory. Between steps.
  bool makeDrawRoom(size_t draws);
  DrawRoom& drawRoom() { return drawRoom_; }

  Screen& screen() { return screen_; }
  const ScreenedPanel& screenedPanel() const { return screenedPanel_; }
  HeadCounts& headCounts() { return headCounts_; }
  // By kind of request. Only between steps.
  Patience& patience(Want want) { return patience_[static_cast<size_t>(want)]; }

  int32_t threadsFor(const StepSize& size) const;
  const Array<Phase>& phases() const { return phases_; }
  WorkCounter* counters(int32_t first) const { return counters_ + first; }
  void resetCounters();
  const Scratch& scratch(int thread) const { return scratch_[static_cast<size_t>(thread)]; }
  size_t scoreStride() const { return scoreStride_; }
  size_t scoreFloats() const { return scoreFloats_; }
  // Shared by all threads: scores and partial values of an attention that is split by blocks.
  float* splitScratch() const { return splitScratch_; }
  size_t splitFloats() const { return splitFloats_; }
  // The head's normalised rows [headPanel, headStride] and logits [headPanel, logitStride].
  const F32Rows& headRows() const { return headRows_; }
  const F32Rows& logits() const { return logits_; }

 private:
  // Weights and multiply-adds of all operations together.
  struct Work {
    int64_t ternaryWeights = 0, headBytes = 0, headWeights = 0;
    int64_t perKey = 0;  // multiply-adds of attention for each key of a row
    int64_t nPhases = 0;
  };
  struct Source {
    FileMapping mapping;
    const char* path = nullptr;
    uint8_t* copy = nullptr;
    const uint8_t* shared = nullptr;
    uint64_t size = 0;
    bool isRead = false;   // some weight that an operation reads lies in it
    bool isInPlace = false;  // and is read there by every step
    const uint8_t* data() const {
      if (copy) return copy;
      return shared ? shared : mapping.data();
    }
  };
  struct View {
    const uint8_t* bytes;  // weights in place
    float* widened;        // vectors and RoPE tables as f32
    bool isVector, isInPlace, hasGroupReader;  // how operations read a weight or a q8 activation
    bool suitsLanes;
    F32Rows f32;
    Q8Rows q8;
    size_t kvOffset;
  };
  // Hands out 64-byte aligned parts of one block: a first pass counts, a second one gives addresses.
  struct Layout;

  static size_t index(int32_t id) { return static_cast<size_t>(id); }
  uint64_t privateBytes() const;
  uint64_t mappedBytes() const;
  const uint8_t* bytesOf(const Buffer& weight) const { return sources_[weight.source].data() + static_cast<size_t>(weight.offset); }
  bool checkLimits(Failure& failure) const;
  bool fitsAddresses() const;
  bool mapSources(Failure& failure);
  void markReaders();
  bool placeBuffers(Failure& failure);
  void layOut(Layout& layout);
  void layOutScratch(Layout& layout);
  size_t stripScratch() const;
  void widenVectors();
  void dropUnreadSources();
  bool planPhases();
  void planScreen();
  void addWork(const Operation& op);
  bool reserveArena(Failure& failure);

  const Kernels* kernels_;
  LoadLimits limits_;
  Program program_;
  Source* sources_ = nullptr;
  size_t nSources_ = 0;
  Array<char> paths_;
  Array<View> views_;
  Array<Scratch> scratch_;
  Array<uint8_t> memory_;  // activations, widened vectors and scratch
  Array<Phase> phases_;
  Array<uint8_t> counterMemory_;
  WorkCounter* counters_ = nullptr;
  size_t nCounters_ = 0;
  Work work_;
  KvArena arena_;
  size_t scoreStride_ = 0, scoreFloats_ = 0;
  float* splitScratch_ = nullptr;
  size_t splitFloats_ = 0;
  Screen screen_;
  DrawRoom drawRoom_;
  ScreenedPanel screenedPanel_ = {};
  HeadCounts headCounts_;
  Patience patience_[nWants];
  F32Rows headRows_ = {};
  F32Rows logits_ = {};
};

}  // namespace bitnet::engine
