// Answers to requests for a share of the mass: the best candidates, and a bracket of the weights of all other ranked ids. A weight is
// exp((logit − highest) / temperature). Not part of what has to be equal bit for bit: only the candidates' logits and the truth of the
// bracket count (packages/core/src/backend/step.ts).
#include <algorithm>
#include <cmath>
#include <limits>

#include "head.h"

namespace bitnet::engine {
namespace {

// Relative error of weighSegment: arguments down to −87.3 rounded three times, exp, and f32 sums of 4096 values in stripes come to less than
// 3.2e-5 together.
constexpr double weightError = 0x1p-14;
// Of sums in f64 and std::exp.
constexpr double exactError = 1e-9;
// What the rows that are not computed may weigh, relative to the others.
constexpr double restShare = 1.0 / 256;
// Candidates that are listed however little it takes: a sampler's penalties move some of them down.
constexpr size_t leastListed = 64;
// Bounds below the best probe are sorted by their distance in units of the temperature: so many classes a unit.
constexpr int32_t classesPerUnit = 4;
constexpr int32_t nClasses = 40 * classesPerUnit;

double weightOf(float logit, float highest, float temperature) {
  return std::exp((static_cast<double>(logit) - static_cast<double>(highest)) / static_cast<double>(temperature));
}

// 0: not below the best probe.
int32_t classOf(float upper, float highest, float temperature) {
  const double distance = (static_cast<double>(highest) - static_cast<double>(upper)) * (classesPerUnit / static_cast<double>(temperature));
  if (!(distance > 0)) return 0;
  return distance < nClasses - 1 ? 1 + static_cast<int32_t>(distance) : nClasses;
}

}  // namespace

// Sums the weights of a segment's ranked ids, relative to the highest of them.
void HeadWorker::weighSegment(const HeadPanel& panel, int32_t slot, int32_t segment) {
  const HeadRequest& head = requestOf(panel, slot);
  const HeadResult& result = resultOf(panel, slot);
  SegmentResult& found = segmentOf(panel, slot, segment);
  const Candidate* best = result.candidates + static_cast<size_t>(segment) * result.perSegment;
  found.weight = 0;
  if (found.nFound == 0) return;
  found.highest = std::min_element(best, best + found.nFound, ranksBefore)->value;
  const float* logits = executable.logits().row(slot);
  const IdRange ids = idsOf(panel, segment);
  for (int32_t first = ids.first; first < ids.end; first += logitScratch) {
    const int32_t n = std::min(logitScratch, ids.end - first);
    for (int32_t i = 0; i < n; i++)
      scratch.logits[i] = isRanked(head.ranked, first + i) ? logits[first + i] - found.highest : -std::numeric_limits<float>::infinity();
    alignas(64) float stripes[16] = {};
    kernels.expStripes(scratch.logits, n, 1 / head.real, 0, stripes);
    found.weight += static_cast<double>(foldStripes(stripes));
  }
}

// A bar below which a segment's rows weigh next to nothing together, which is noted.
float HeadWorker::barOfMass(const HeadPanel& panel, int32_t slot, int32_t segment) {
  const HeadRequest& head = requestOf(panel, slot);
  const HeadResult& result = resultOf(panel, slot);
  SegmentResult& found = segmentOf(panel, slot, segment);
  const auto forEachProbe = [&](auto&& use) {
    for (int32_t s = 0; s < panel.nSegments; s++) {
      const Candidate* probes = result.probes + static_cast<size_t>(s) * result.perSegmentProbes;
      for (size_t i = 0; i < segmentOf(panel, slot, s).nProbes; i++) use(probes[i].value);
    }
  };
  float highest = -std::numeric_limits<float>::infinity();
  double known = 0;
  forEachProbe([&](float value) { highest = std::max(highest, value); });
  forEachProbe([&](float value) { known += weightOf(value, highest, head.real); });
  found.highest = highest;
  found.weight = 0;
  if (known == 0) return highest;  // nothing is ranked

  size_t counts[nClasses + 1] = {};
  const float* upper = executable.logits().row(slot);
  const IdRange ids = idsOf(panel, segment);
  for (int32_t id = ids.first; id < ids.end; id++) {
    if (isRanked(head.ranked, id)) counts[classOf(upper[id], highest, head.real)]++;
  }
  const double budget = known * restShare / panel.nSegments;
  int32_t last = nClasses;  // class that still counts as rest, going up
  for (; last > 0; last--) {
    const double most = static_cast<double>(counts[last]) * std::exp(-static_cast<double>(last - 1) / classesPerUnit) * (1 + exactError);
    if (found.weight + most > budget) break;
    found.weight += most;
  }
  size_t nAbove = 0;
  for (int32_t i = 0; i <= last; i++) nAbove += counts[i];
  found.isTooMuch = nAbove > std::min(result.perSegment, job.candidateLimit(head.want));
  if (last == 0) return highest;
  // A little lower, so that no row falls between two roundings.
  const double below = static_cast<double>(last) / classesPerUnit * static_cast<double>(head.real);
  const double bar = static_cast<double>(highest) - below - (std::fabs(static_cast<double>(highest)) + below) * exactError;
  constexpr double least = std::numeric_limits<float>::lowest();
  return std::nextafter(static_cast<float>(std::max(bar, least)), -std::numeric_limits<float>::infinity());
}

// How many of the ranked candidates it takes to carry the share, with the ids apart that stand above the last of them. `total`: weight of all
// ranked ids relative to the first. `logits`: all of them, for those of the ids apart to be
// read; null when they have been.
size_t HeadWorker::countToShare(const HeadRequest& head, const Candidate* candidates, size_t n, double total, const float* logits, float* apart) {
  for (int32_t i = 0; logits && i < head.nApart; i++) apart[i] = logits[head.apart[i]];
  float highest = candidates[0].value;
  for (int32_t i = 0; i < head.nApart; i++) highest = std::max(highest, apart[i]);
  double wanted = total * weightOf(candidates[0].value, highest, head.real);
  for (int32_t i = 0; i < head.nApart; i++) wanted += weightOf(apart[i], highest, head.real);
  wanted *= static_cast<double>(head.share);
  double sum = 0;
  size_t count = 0;
  float above = std::numeric_limits<float>::infinity();
  do {
    const float value = candidates[count++].value;
    sum += weightOf(value, highest, head.real);
    for (int32_t i = 0; i < head.nApart; i++)
      if (apart[i] < above && apart[i] >= value) sum += weightOf(apart[i], highest, head.real);
    above = value;
  } while (count < n && (sum < wanted || count < leastListed));
  return count;
}

// Ranks the candidates found, lists as many as carry the share, and brackets what all others weigh. `isWhole`: they are the best of the
// whole product, and the segments know the weight of all; otherwise they are all but what the segments bound.
void HeadWorker::listMass(const HeadPanel& panel, int32_t slot, size_t found, bool isWhole) {
  const HeadRequest& head = requestOf(panel, slot);
  HeadResult& result = resultOf(panel, slot);
  Candidate* candidates = result.candidates;
  size_t sorted = std::min(found, massListed);
  std::partial_sort(candidates, candidates + sorted, candidates + found, ranksBefore);
  result.count = 0;
  result.restLow = result.restHigh = 0;
  if (found == 0) return;
  const float highest = candidates[0].value;
  double ofSegments = 0;
  for (int32_t segment = 0; segment < panel.nSegments; segment++) {
    const SegmentResult& part = segmentOf(panel, slot, segment);
    if (part.weight > 0) ofSegments += part.weight * weightOf(part.highest, highest, head.real);
  }
  double low = ofSegments * (1 - weightError), high = ofSegments * (1 + weightError);
  if (!isWhole) {
    // A row that was not computed may stand before one whose value is not above its bound.
    float passedOver = -std::numeric_limits<float>::infinity();
    for (int32_t segment = 0; segment < panel.nSegments; segment++)
      passedOver = std::max(passedOver, segmentOf(panel, slot, segment).passedOver);
    while (sorted > 1 && candidates[sorted - 1].value <= passedOver) sorted--;
    double exact = 0;
    for (size_t i = 0; i < found; i++) exact += weightOf(candidates[i].value, highest, head.real);
    low = exact * (1 - exactError);
    high = (exact + ofSegments) * (1 + exactError);
  }
  result.count = countToShare(head, candidates, sorted, high, isWhole ? executable.logits().row(slot) : nullptr, result.apart);
  double listed = 0;
  for (size_t i = 0; i < result.count; i++) listed += weightOf(candidates[i].value, highest, head.real);
  result.restLow = std::max(0.0, low - listed * (1 + exactError));
  result.restHigh = std::max(0.0, high - listed * (1 - exactError));
}

}  // namespace bitnet::engine
