// Draws a token from all logits of a row: penalties, filters and noise (numerics: samplers). The whole vocabulary is ranked by a radix
// sort.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "head.h"

namespace bitnet::engine {
namespace {

constexpr float forbidden = -std::numeric_limits<float>::infinity();
constexpr float largest = std::numeric_limits<float>::max();
// So many tokens are perturbed one by one rather than with all others.
constexpr size_t fewTokens = 1024;

// Orders as the ranking does: a higher logit first, then a lower id. −0 counts as 0.
uint64_t keyOf(float logit, int32_t id) {
  const float value = logit + 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t descending = bits >= 0x80000000u ? bits : 0x7fffffffu - bits;
  return static_cast<uint64_t>(descending) << 32 | static_cast<uint32_t>(id);
}

int32_t idOf(uint64_t key) { return static_cast<int32_t>(key & 0xffffffffu); }

float logitOf(uint64_t key) {
  const uint32_t descending = static_cast<uint32_t>(key >> 32);
  const uint32_t bits = descending >= 0x80000000u ? descending : 0x7fffffffu - descending;
  float logit;
  std::memcpy(&logit, &bits, sizeof logit);
  return logit;
}

float changed(const DrawSettings& draw, int32_t i, float logit) {
  const float bias = draw.biases[i];
  if (bias == forbidden) return forbidden;
  float value = logit;
  if (draw.counts[i] > 0) {
    value = value > 0 ? value / draw.repeat : value * draw.repeat;
    const float frequent = static_cast<float>(static_cast<double>(draw.counts[i]) * static_cast<double>(draw.frequency));
    value = value - frequent;
    value = value - draw.presence;
  }
  value = value + bias;
  if (value >= largest) return largest;
  return value > -largest ? value : -largest;
}

bool hasFilter(const DrawSettings& draw, int32_t vocabSize) {
  return (draw.topK > 0 && draw.topK < vocabSize) || draw.typicalP < 1 || draw.topP < 1 || draw.minP > 0;
}

// Sorts by the upper 32 bits, from the lowest of them up; the ids below stay in order. Returns where the result lies.
uint64_t* sortKeys(uint64_t* keys, uint64_t* spare, size_t n) {
  constexpr int digitBits = 11, nDigits = 3;
  constexpr size_t nValues = size_t{1} << digitBits;
  uint32_t counts[nDigits][nValues] = {};
  const auto digitOf = [](uint64_t key, int digit) { return (key >> (32 + digitBits * digit)) & (nValues - 1); };
  for (size_t i = 0; i < n; i++)
    for (int digit = 0; digit < nDigits; digit++) counts[digit][digitOf(keys[i], digit)]++;
  for (int digit = 0; digit < nDigits; digit++) {
    uint32_t at = 0;
    for (uint32_t& count : counts[digit]) {
      const uint32_t here = count;
      count = at;
      at += here;
    }
    for (size_t i = 0; i < n; i++) spare[counts[digit][digitOf(keys[i], digit)]++] = keys[i];
    std::swap(keys, spare);
  }
  return keys;
}

// Ranks [start, end).
struct Window {
  size_t start, end;
};

double sumOf(const float* weights, Window window) {
  double sum = 0;
  for (size_t i = window.start; i < window.end; i++) sum += static_cast<double>(weights[i]);
  return sum;
}

// Each of these takes the weights of the window's ranks, relative to its first, and gives what it keeps of the window.

// `distanceAt`: the logarithm of a rank's weight. The window begins at rank 0.
template <class DistanceAt>
Window typical(const float* weights, Window window, double typicalP, DistanceAt distanceAt) {
  const double total = sumOf(weights, window), bound = typicalP * total;
  double expected = 0;
  for (size_t i = 0; i < window.end; i++)
    if (weights[i] > 0) expected += static_cast<double>(weights[i]) * distanceAt(i);
  expected /= total;
  size_t end = 0;
  while (end < window.end && distanceAt(end) >= expected) end++;
  size_t start = end;
  constexpr double none = std::numeric_limits<double>::infinity();
  for (double sum = 0; sum < bound && (start > 0 || end < window.end);) {
    const double above = start > 0 ? distanceAt(start - 1) - expected : none;
    const double below = end < window.end ? expected - distanceAt(end) : none;
    sum += static_cast<double>(weights[above <= below ? --start : end++]);
  }
  return {start, end};
}

Window nucleus(const float* weights, Window window, double topP) {
  const double bound = topP * sumOf(weights, window);
  double sum = 0;
  for (size_t i = window.start; i < window.end; i++) {
    sum += static_cast<double>(weights[i]);
    if (sum >= bound) return {window.start, i + 1};
  }
  return window;
}

Window likely(const float* weights, Window window, double minP) {
  size_t end = std::min(window.start + 1, window.end);
  while (end < window.end && static_cast<double>(weights[end]) >= minP) end++;
  return {window.start, end};
}

}  // namespace

struct HeadWorker::RankRoom {
  uint64_t* keys;   // in ranking order once ranked
  uint64_t* spare;
  float* weights;   // by rank
};

// Puts the token that is drawn before the best ones.
void HeadWorker::addDrawn(const HeadPanel& panel, int32_t slot) {
  const HeadRequest& head = requestOf(panel, slot);
  HeadResult& result = resultOf(panel, slot);
  float* logits = executable.logits().row(slot);
  for (int32_t i = 0; i < head.nApart; i++) logits[head.apart[i]] = changed(head.draw, i, result.apart[i]);
  const int32_t id = draw(panel, slot, logits);
  for (int32_t i = 0; i < head.nApart; i++) logits[head.apart[i]] = result.apart[i];
  std::memmove(result.candidates + 1, result.candidates, result.count * sizeof(Candidate));
  result.candidates[0] = {id < 0 ? 0.0f : logits[id], id};
  result.count++;
}

// −1 when every token is forbidden. `logits`: changed, −∞ where forbidden.
int32_t HeadWorker::draw(const HeadPanel& panel, int32_t slot, const float* logits) {
  const HeadRequest& head = requestOf(panel, slot);
  const DrawSettings& settings = head.draw;
  if (head.real == 0) {
    Candidate best = {forbidden, -1};
    for (int32_t id = 0; id < program.vocabSize; id++)
      if (logits[id] > best.value && isRanked(head.ranked, id)) best = {logits[id], id};
    return best.id;
  }
  if (!hasFilter(settings, program.vocabSize)) return drawAll(head, logits, 0, UINT64_MAX);
  const size_t vocab = static_cast<size_t>(program.vocabSize);
  // Nobody else works at this request, nor on this thread.
  const size_t number = static_cast<size_t>(job.drawsAtOnce() < panel.n ? thread : slot);
  uint64_t* keys = executable.drawRoom().keys.data() + number * 2 * vocab;
  RankRoom room = {keys, keys + vocab, executable.drawRoom().weights.data() + number * vocab};
  const size_t n = rankAll(head, logits, room);
  if (n == 0) return -1;
  Window window = {0, settings.topK > 0 ? std::min(n, static_cast<size_t>(settings.topK)) : n};
  const auto distanceAt = [&](size_t i) { return static_cast<double>((logitOf(room.keys[i]) - logitOf(room.keys[0])) / head.real); };
  if (settings.typicalP < 1) {
    weigh(head, room, window.start, window.end);
    window = typical(room.weights, window, settings.typicalP, distanceAt);
  }
  if (settings.topP < 1) {
    weigh(head, room, window.start, window.end);
    window = nucleus(room.weights, window, settings.topP);
  }
  if (settings.minP > 0) {
    weigh(head, room, window.start, window.end);
    window = likely(room.weights, window, settings.minP);
  }
  return drawWindow(head, logits, room.keys, window.start, window.end);
}

// Ranks every token that may be drawn; gives their number.
size_t HeadWorker::rankAll(const HeadRequest& head, const float* logits, RankRoom& room) {
  size_t n = 0;
  for (int32_t id = 0; id < program.vocabSize; id++) {
    room.keys[n] = keyOf(logits[id], id);
    n += logits[id] > forbidden && isRanked(head.ranked, id) ? 1 : 0;
  }
  uint64_t* sorted = sortKeys(room.keys, room.spare, n);
  if (sorted != room.keys) std::swap(room.keys, room.spare);
  return n;
}

// Weights of the ranks [start, end), relative to the first of them.
void HeadWorker::weigh(const HeadRequest& head, const RankRoom& room, size_t start, size_t end) {
  const float best = logitOf(room.keys[start]);
  float unused[16] = {};
  for (size_t from = start; from < end; from += logitScratch) {
    const size_t n = std::min<size_t>(logitScratch, end - from);
    float* weights = room.weights + from;
    for (size_t i = 0; i < n; i++) weights[i] = (logitOf(room.keys[from + i]) - best) / head.real;
    kernels.expStripes(weights, static_cast<int>(n), 1.0f, 0, unused);
  }
}

int32_t HeadWorker::drawWindow(const HeadRequest& head, const float* logits, const uint64_t* keys, size_t start, size_t end) {
  if (start == end) return -1;
  if (end - start > fewTokens) return drawAll(head, logits, keys[start], keys[end - 1]);
  Candidate best = {forbidden, -1};
  for (size_t i = start; i < end; i++) {
    const int32_t id = idOf(keys[i]);
    float score;
    kernels.perturb(logits + id, 1, head.perturbation(id), &score);
    if (best.id < 0 || ranksBefore({score, id}, best)) best = {score, id};
  }
  return best.id;
}

// Draws from the tokens whose keys lie in [first, last].
int32_t HeadWorker::drawAll(const HeadRequest& head, const float* logits, uint64_t first, uint64_t last) {
  Candidate best = {forbidden, -1};
  for (int32_t from = 0; from < program.vocabSize; from += logitScratch) {
    const int32_t n = std::min(logitScratch, program.vocabSize - from);
    kernels.perturb(logits + from, n, head.perturbation(from), scratch.logits);
    for (int32_t i = 0; i < n; i++) {
      const int32_t id = from + i;
      const float score = scratch.logits[i];
      if (best.id >= 0 && !(score > best.value)) continue;
      const uint64_t key = keyOf(logits[id], id);
      if (logits[id] > forbidden && isRanked(head.ranked, id) && key >= first && key <= last) best = {score, id};
    }
  }
  return best.id;
}

}  // namespace bitnet::engine
