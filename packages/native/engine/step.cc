#include "step.h"

#include <cstring>

#include "kv-arena.h"
#include "word-reader.h"

namespace bitnet::engine {
namespace {

class Decoder {
 public:
  Decoder(const Program& program, const LoadLimits& limits, Step& step, Failure& failure)
      : program_(program), limits_(limits), step_(step), failure_(failure), words_(step.words.data(), step.words.size()) {}

  bool decode() {
    StepCounts counts;
    if (!read(counts)) return false;
    step_.nRows = counts.nRows;
    step_.nCopies = counts.nCopies;
    step_.nOutputs = counts.nOutputs;
    if (counts.nRows < 1 || counts.nRows > limits_.maxRows) return invalid("the number of rows is out of range", counts.nRows);
    if (counts.nHeads > counts.nRows || (counts.nHeads > 0 && !program_.hasHead))
      return invalid("the number of head requests is out of range", counts.nHeads);
    const int64_t nWords = static_cast<int64_t>(step_.words.size());
    if (counts.nTables > nWords || counts.nInputs > nWords) return invalid("the counts do not match the encoding", 0);
    if (!step_.tables.allocate(static_cast<size_t>(counts.nTables)) || !step_.heads.allocate(static_cast<size_t>(counts.nHeads)) ||
        !step_.inputs.allocate(static_cast<size_t>(counts.nInputs)) || !step_.masks.allocate(static_cast<size_t>(counts.nHeads) * maskWords()))
      return failure_.set(Code::OutOfMemory, "no memory for the step");
    step_.tokens = words_.take(step_.nRows);
    step_.positions = words_.take(step_.nRows);
    step_.sequences = words_.take(step_.nRows);
    if (counts.hasAdapters) step_.adapters = words_.take(step_.nRows);
    for (PageTable& table : step_.tables) {
      table.nPages = words_.next();
      table.pages = words_.take(table.nPages);
      if (!pagesExist(table.pages, table.nPages)) return false;
    }
    step_.copies = words_.take(2 * static_cast<int64_t>(step_.nCopies));
    if (!pagesExist(step_.copies, 2 * static_cast<int64_t>(step_.nCopies)) || !checkRows()) return false;
    for (HeadRequest& head : step_.heads)
      if (!decodeHead(head)) return false;
    for (StepInput& input : step_.inputs)
      if (!decodeInput(input)) return false;
    step_.outputs = words_.take(step_.nOutputs);
    if (!words_.atEnd()) return invalid("the encoding has a wrong length", 0);
    for (int32_t i = 0; i < step_.nOutputs; i++)
      if (!isActivation(step_.outputs[i])) return invalid("an output is not an activation", step_.outputs[i]);
    return true;
  }

 private:
  template <class Record>
  bool read(Record& record) {
    return readRecord(words_.take(wordsOf<Record>), "step", record, failure_);
  }

  size_t maskWords() const { return (static_cast<size_t>(program_.vocabSize) + 31) / 32; }

  bool invalid(const char* what, int32_t value) { return failure_.set(Code::InvalidArgument, "step: %s (%d)", what, value); }

  bool pagesExist(const int32_t* pages, int64_t n) {
    if (!words_.complete()) return invalid("the encoding is too short", 0);
    for (int64_t i = 0; i < n; i++)
      if (pages[i] < 0 || pages[i] >= limits_.nPages) return invalid("a page is not in the arena", pages[i]);
    return true;
  }

  bool checkRows() {
    for (int32_t row = 0; row < step_.nRows; row++) {
      const int32_t token = step_.tokens[row], position = step_.positions[row], sequence = step_.sequences[row];
      if (program_.embeds && (token < 0 || token >= program_.vocabSize)) return invalid("a token is out of range", token);
      if (!program_.usesKv) continue;
      if (sequence < 0 || static_cast<size_t>(sequence) >= step_.tables.size()) return invalid("a sequence has no page table", sequence);
      if (position < 0 || position >= program_.contextLength ||
          position >= static_cast<int64_t>(step_.tableOfRow(row).nPages) * pageTokens)
        return invalid("a position is out of range", position);
      PageTable& table = step_.tables[static_cast<size_t>(sequence)];
      if (position / pageTokens >= table.nNeeded) table.nNeeded = position / pageTokens + 1;
    }
    return true;
  }

  bool decodeHead(HeadRequest& head) {
    if (!read<AskedHead>(head) || (head.want == Want::Draw && !read<DrawFilters>(head.draw))) return false;
    head.apart = words_.take(head.nApart);
    if (head.want == Want::Draw) {
      head.draw.counts = words_.take(head.nApart);
      head.draw.biases = reinterpret_cast<const float*>(words_.take(head.nApart));
    }
    const int32_t* allow = head.hasAllow ? words_.take(static_cast<int64_t>(maskWords())) : nullptr;
    if (!words_.complete()) return invalid("the encoding is too short", 0);
    if (head.row >= step_.nRows) return invalid("a head's row is out of range", head.row);
    if (!isInRange(head)) return invalid("a head's request is out of range", head.row);
    for (int32_t i = 0; i < head.nApart; i++)
      if (head.apart[i] < 0 || head.apart[i] >= program_.vocabSize) return invalid("an apart id is out of range", head.apart[i]);
    setRanked(head, allow);
    return true;
  }

  bool isInRange(const HeadRequest& head) const {
    switch (head.want) {
      case Want::Top: return head.k >= 1;
      case Want::Mass: return isMass(head);
      case Want::Draw: return isDraw(head);
      // It is about no ids.
      case Want::State: return head.nApart == 0 && !head.hasLogSumExp && !head.hasAllow;
      case Want::Above:
      case Want::Winner:
      case Want::All: return true;
    }
    return false;
  }

  bool isDraw(const HeadRequest& head) const {
    const DrawSettings& draw = head.draw;
    return head.real >= 0 && head.real <= 0x1.fffffep127f && draw.nBest <= program_.vocabSize && draw.typicalP > 0 && draw.typicalP <= 1 &&
           draw.topP > 0 && draw.topP <= 1 && draw.minP >= 0 && draw.minP <= 1;
  }

  // The inverse of the temperature must be finite.
  static bool isMass(const HeadRequest& head) {
    return head.real >= 0x1p-126f && head.real <= 0x1.fffffep127f && head.share > 0 && head.share <= 1;
  }

  // The allowed ids, without those that are answered apart unless the token is drawn here.
  void setRanked(HeadRequest& head, const int32_t* allow) {
    const int32_t nLeftOut = head.want == Want::Draw ? 0 : head.nApart;
    if (!allow && nLeftOut == 0) return;
    uint32_t* mask = step_.masks.data() + static_cast<size_t>(&head - step_.heads.begin()) * maskWords();
    if (allow) {
      std::memcpy(mask, allow, maskWords() * sizeof(uint32_t));
    } else {
      std::memset(mask, 0xff, maskWords() * sizeof(uint32_t));
    }
    for (int32_t i = 0; i < nLeftOut; i++) mask[head.apart[i] >> 5] &= ~(1u << (head.apart[i] & 31));
    head.ranked = mask;
  }

  bool isActivation(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= program_.buffers.size()) return false;
    const BufferKind kind = program_.buffer(id).kind;
    return kind == BufferKind::F32 || kind == BufferKind::Q8;
  }

  bool decodeInput(StepInput& input) {
    input.buffer = words_.next();
    if (!isActivation(input.buffer) || program_.buffer(input.buffer).kind != BufferKind::F32)
      return invalid("an input is not an f32 activation", input.buffer);
    const int32_t* values = words_.take(static_cast<int64_t>(step_.nRows) * program_.buffer(input.buffer).cols);
    if (!values) return invalid("the encoding is too short", 0);
    input.values = reinterpret_cast<const float*>(values);
    return true;
  }

  const Program& program_;
  const LoadLimits& limits_;
  Step& step_;
  Failure& failure_;
  WordReader words_;
};

}  // namespace

bool decodeStep(const int32_t* words, size_t nWords, const Program& program, const LoadLimits& limits, Step& step, Failure& failure) {
  if (!step.words.allocate(nWords)) return failure.set(Code::OutOfMemory, "no memory for a step of %zu words", nWords);
  if (nWords > 0) std::memcpy(step.words.data(), words, nWords * sizeof(int32_t));
  return Decoder(program, limits, step, failure).decode();
}

}  // namespace bitnet::engine
