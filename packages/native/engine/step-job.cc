#include "step-job.h"

#include <algorithm>
#include <cstring>

#include "kernel-choice.h"
#include "step-context.h"

namespace bitnet::engine {
namespace {

std::atomic<uint64_t> stepsByVariant[maxVariants];

int variantIndex(const char* isa) {
  int count;
  const Variant* variants = kernelVariants(&count);
  for (int i = 0; i < count && i < maxVariants; i++)
    if (std::strcmp(variants[i].isa, isa) == 0) return i;
  return -1;
}

}  // namespace

int32_t segmentLength(int32_t vocabSize, int32_t nSegments) {
  const int64_t even = (static_cast<int64_t>(vocabSize) + nSegments - 1) / nSegments;
  return static_cast<int32_t>(std::min<int64_t>((even + 63) / 64 * 64, INT32_MAX));
}

StepJob::StepJob(Executable& executable, const void* owner, const std::atomic<bool>& closing)
    : Job(owner), executable_(executable), closing_(closing) {}

bool StepJob::prepare(const int32_t* words, size_t nWords) {
  if (!decodeStep(words, nWords, executable_.program(), executable_.limits(), step_, failure_) || !prepareHeads() || !commitPages()) return false;
  StepSize size = {step_.nRows, 0, 0};
  for (const HeadRequest& head : step_.heads) size.nRequests += head.want == Want::State ? 0 : 1;
  for (int32_t row = 0; executable_.program().usesKv && row < step_.nRows; row++) size.nKeys += step_.positions[row] + 1;
  askForThreads(executable_.threadsFor(size));
  return true;
}

int32_t StepJob::segmentsOf(int32_t request) const {
  const int32_t inPanel = std::min(headPanel, static_cast<int32_t>(step_.heads.size()) - request / headPanel * headPanel);
  return inPanel < executable_.limits().threads ? executable_.limits().threads : 1;
}

// The best k are asked of the screen; for more of them nearly every row would have to be computed after all.
constexpr int32_t mostScreened = 256;
// Rows that look best and are computed first, beside those that are wanted, so that the bar is high.
constexpr size_t extraProbes = 8;

bool StepJob::isWorthScreening(const HeadRequest& head) const {
  if (head.hasLogSumExp || head.want == Want::All || head.want == Want::Draw || head.want == Want::State) return false;
  return head.want != Want::Top || head.k <= mostScreened;
}

size_t StepJob::floatsOf(const HeadRequest& head) const {
  const Program& program = executable_.program();
  if (head.want == Want::All) return static_cast<size_t>(program.vocabSize);
  return head.want == Want::State ? static_cast<size_t>(program.headCols) : 0;
}

size_t StepJob::candidateLimit(Want want) const {
  const size_t vocab = static_cast<size_t>(executable_.program().vocabSize);
  return want == Want::Mass ? std::max(massListed, vocab / 16) : std::max<size_t>(64, vocab / 8);
}

// How many candidates the answer has; of those above a margin the first.
static size_t wantedOf(const HeadRequest& head) {
  if (head.want == Want::All || head.want == Want::State) return 0;
  if (head.want == Want::Top) return static_cast<size_t>(head.k);
  return head.want == Want::Mass ? massListed : 1;
}

// How a request will be answered, and the room that takes.
void StepJob::planHead(size_t i) {
  const HeadRequest& head = step_.heads[i];
  HeadResult& result = heads_[i];
  const size_t vocab = static_cast<size_t>(executable_.program().vocabSize);
  const int32_t nSegments = segmentsOf(static_cast<int32_t>(i));
  const size_t segments = static_cast<size_t>(nSegments);
  const size_t length = static_cast<size_t>(segmentLength(static_cast<int32_t>(vocab), nSegments));
  result.isScreened = executable_.screen().isReady() && isWorthScreening(head) && executable_.patience(head.want).tries();
  size_t wanted = wantedOf(head);
  const size_t wantedProbes = head.want == Want::Mass ? 32 : wanted;
  if (result.isScreened) result.perSegmentProbes = std::min(length, (segments == 1 ? wantedProbes : 2 * wantedProbes / segments) + extraProbes);
  if (head.want == Want::Above) wanted = length;
  if (head.want == Want::Mass && result.isScreened) wanted = std::max(wanted, 2 * candidateLimit(Want::Mass) / segments);
  result.perSegment = std::min(wanted, length);
  // Before the best ones stands the token that is drawn.
  if (head.want == Want::Draw) result.perSegment = std::min(static_cast<size_t>(head.draw.nBest), length) + 1;
}

int32_t StepJob::drawsAtOnce() const {
  return std::min({executable_.limits().threads, headPanel, static_cast<int32_t>(step_.heads.size())});
}

bool StepJob::prepareHeads() {
  const size_t n = step_.heads.size();
  const auto noMemory = [&] { return failure_.set(Code::OutOfMemory, "no memory for the answers of %zu head requests", n); };
  if (!heads_.allocate(n) || !segments_.allocate(n * static_cast<size_t>(executable_.limits().threads))) return noMemory();
  Screen& screen = executable_.screen();
  for (size_t i = 0; i < n && i < headPanel && screen.isMissing(); i++) {
    if (!isWorthScreening(step_.heads[i])) continue;
    buildsScreen_ = screen.allocate();
    break;
  }
  size_t nCandidates = 0, nFloats = 0;
  const auto room = [&](size_t i) {
    return static_cast<size_t>(segmentsOf(static_cast<int32_t>(i))) * (heads_[i].perSegment + heads_[i].perSegmentProbes);
  };
  for (size_t i = 0; i < n; i++) {
    planHead(i);
    nCandidates += room(i);
    nFloats += floatsOf(step_.heads[i]) + static_cast<size_t>(step_.heads[i].nApart);
  }
  if (!candidates_.allocate(nCandidates) || !headFloats_.allocate(nFloats)) return noMemory();
  const bool draws = std::any_of(step_.heads.begin(), step_.heads.end(), [](const HeadRequest& head) { return head.want == Want::Draw; });
  if (draws && !executable_.makeDrawRoom(static_cast<size_t>(drawsAtOnce()))) return noMemory();
  Candidate* candidates = candidates_.data();
  float* floats = headFloats_.data();
  for (size_t i = 0; i < n; i++) {
    heads_[i].candidates = candidates;
    heads_[i].probes = candidates + static_cast<size_t>(segmentsOf(static_cast<int32_t>(i))) * heads_[i].perSegment;
    heads_[i].logits = floats;
    heads_[i].apart = floats + floatsOf(step_.heads[i]);
    candidates += room(i);
    floats = heads_[i].apart + step_.heads[i].nApart;
  }
  return true;
}

bool StepJob::commitPages() {
  KvArena& arena = executable_.arena();
  bool all = true;
  if (executable_.program().usesKv)
    for (const PageTable& table : step_.tables)
      for (int32_t i = 0; i < table.nNeeded && all; i++) all = arena.commit(table.pages[i]);
  for (int32_t i = 0; i < 2 * step_.nCopies && all; i++) all = arena.commit(step_.copies[i]);
  return all || failure_.set(Code::OutOfMemory, "no memory for another page of the KV cache");
}

void StepJob::run(Team& team, int thread) {
  if (thread == 0) executable_.resetCounters();
  if (!team.barrier()) runOperations(StepContext(*this, team, thread));
  // All threads leave at the same barrier: nobody computes any more.
  if (thread == 0) settle();
}

bool StepJob::shouldStop() {
  return firstFailure_.load(std::memory_order_relaxed) != UINT64_MAX || closing_.load(std::memory_order_relaxed);
}

void StepJob::numericFailure(int32_t op, int32_t row) {
  const uint64_t here = static_cast<uint64_t>(op) << 32 | static_cast<uint32_t>(row);
  uint64_t first = firstFailure_.load(std::memory_order_relaxed);
  while (here < first && !firstFailure_.compare_exchange_weak(first, here, std::memory_order_relaxed)) {
  }
}

void StepJob::settle() {
  // A damaged file comes first: what it gives may well be what failed.
  if (!executable_.intact()) {
    failure_.set(Code::BackendFailed, "a model file changed or was truncated while in use; load it again");
    return;
  }
  if (closing_.load(std::memory_order_relaxed)) {
    failure_.set(Code::Aborted, "the environment is going away");
    return;
  }
  const uint64_t first = firstFailure_.load(std::memory_order_relaxed);
  if (first != UINT64_MAX) {
    failure_.set(Code::NumericFailure, "NaN or infinity");
    failure_.op = static_cast<int32_t>(first >> 32);
    failure_.row = static_cast<int32_t>(first & 0xffffffff);
    return;
  }
  settleScreen();
  writeResult();
  const int variant = variantIndex(executable_.kernels().isa);
  if (variant >= 0) stepsByVariant[variant].fetch_add(1, std::memory_order_relaxed);
}

bool StepJob::isAnsweredByScreen(int32_t request) {
  const int32_t nSegments = segmentsOf(request);
  const HeadResult& result = heads_[static_cast<size_t>(request)];
  bool answered = result.isScreened && !result.isUnbounded;
  for (int32_t segment = 0; segment < nSegments; segment++) answered &= !segmentResult(request, segment).isTooMuch;
  return answered;
}

void StepJob::settleScreen() {
  if (buildsScreen_) executable_.screen().advance();
  HeadCounts& counts = executable_.headCounts();
  for (size_t i = 0; i < step_.heads.size(); i++) {
    const int32_t request = static_cast<int32_t>(i);
    if (step_.heads[i].want == Want::State) continue;
    const bool answered = isAnsweredByScreen(request);
    (answered ? counts.screened : counts.whole).fetch_add(1, std::memory_order_relaxed);
    if (!heads_[i].isScreened || heads_[i].isUnbounded) continue;
    executable_.patience(step_.heads[i].want).tell(answered);
    if (!answered) continue;
    for (int32_t segment = 0; segment < segmentsOf(request); segment++)
      counts.candidates.fetch_add(segmentResult(request, segment).nExact, std::memory_order_relaxed);
  }
}

// Per head: an AnsweredHead, then its three lists. Per output: f32 [nRows, cols], or the int8 values padded to whole words and the scales.
void StepJob::writeResult() {
  const Program& program = executable_.program();
  const size_t nRows = static_cast<size_t>(step_.nRows);
  const auto nLogits = [&](size_t i) {
    return std::max(floatsOf(step_.heads[i]), heads_[i].count);
  };
  size_t total = 0;
  for (size_t i = 0; i < step_.heads.size(); i++) total += wordsOf<AnsweredHead> + heads_[i].count + nLogits(i) + static_cast<size_t>(step_.heads[i].nApart);
  for (int32_t i = 0; i < step_.nOutputs; i++) {
    const Buffer& buffer = program.buffer(step_.outputs[i]);
    const size_t values = nRows * static_cast<size_t>(buffer.cols);
    const size_t scales = buffer.isGrouped() ? static_cast<size_t>(paddedCols(buffer.cols) / 128) : 1;
    total += buffer.kind == BufferKind::F32 ? values : (values + 3) / 4 + nRows * scales;
  }
  if (!result_.allocate(total)) {
    failure_.set(Code::OutOfMemory, "no memory for a result of %zu words", total);
    return;
  }
  int32_t* at = result_.data();
  const auto put = [&](const void* from, size_t n) {
    if (n > 0) std::memcpy(at, from, n * sizeof(int32_t));
    at += n;
  };
  for (size_t i = 0; i < step_.heads.size(); i++) {
    const HeadRequest& head = step_.heads[i];
    const HeadResult& result = heads_[i];
    const AnsweredHead answer = {
        .nIds = static_cast<int32_t>(result.count),
        .nLogits = static_cast<int32_t>(nLogits(i)),
        .nApart = head.nApart,
        .hasLogSumExp = head.hasLogSumExp,
        .hasRest = head.want == Want::Mass,
        .isState = head.want == Want::State,
        .restLow = result.restLow,
        .restHigh = result.restHigh,
        .logSumExp = result.logSumExp,
        .unused = 0,
    };
    put(&answer, wordsOf<AnsweredHead>);
    for (size_t c = 0; c < result.count; c++) put(&result.candidates[c].id, 1);
    if (floatsOf(head) > 0) {
      put(result.logits, nLogits(i));
    } else {
      for (size_t c = 0; c < result.count; c++) put(&result.candidates[c].value, 1);
    }
    put(result.apart, static_cast<size_t>(head.nApart));
  }
  for (int32_t i = 0; i < step_.nOutputs; i++) {
    const int32_t id = step_.outputs[i];
    const size_t cols = static_cast<size_t>(program.buffer(id).cols);
    if (program.buffer(id).kind == BufferKind::F32) {
      for (int32_t row = 0; row < step_.nRows; row++) put(executable_.f32(id).row(row), cols);
      continue;
    }
    int8_t* values = reinterpret_cast<int8_t*>(at);
    for (int32_t row = 0; row < step_.nRows; row++) std::memcpy(values + static_cast<size_t>(row) * cols, executable_.q8(id).row(row), cols);
    at += (nRows * cols + 3) / 4;
    const Q8Rows& rows = executable_.q8(id);
    if (rows.groupScales) put(rows.groupScales, nRows * static_cast<size_t>(rows.nGroups()));
    else put(rows.scales, nRows);
  }
}

uint64_t StepJob::stepsRun(const char* isa) {
  const int variant = variantIndex(isa);
  return variant < 0 ? 0 : stepsByVariant[variant].load(std::memory_order_relaxed);
}

}  // namespace bitnet::engine
