/**
 * Draws of the sampler's chain where the logits are: penalties, top-k, top-p, min-p and noise. A token is drawn only where it is certain that the exact
 * sampler draws the same from the same logits (docs/webgpu.md, "Draws"): each sum and score here has a bound, and where two of them
 * overlap the draw is left open. Three kernels: scores of stretches of the vocabulary with the first of each, what weighs more than these, the decision.
 */
import { expFunction } from "./elementary.ts";
import { askedWords } from "./head.ts";
import { keyFunctions, perThread, rankKeys } from "./head-best.ts";
import { type Kernel, kernel } from "./kernel.ts";
import { gumbelFunction } from "./noise.ts";
import { firstOfFunction, mostOfFunction, sumOf4Function } from "./reductions.ts";

/** Tokens with the highest scores that are looked at where top-k does not say how many there are. */
export const nCandidates = 8;
/** Largest k of top-k, of which one more is looked at. */
export const mostTopK = 63;

/** Words of the settings of a draw, in this order. */
const settings = [
  "isDrawn",
  "row",
  "topK",
  "hasTopP",
  "hasMinP",
  "isTouched",
  "temperature",
  "topP",
  "minP",
  "seed",
  "choice",
  "index",
  "repeat",
  "frequency",
  "presence",
  // What penalties and biases add at most, and multiply with.
  "added",
  "factor",
  // Where what penalties and biases touch begins in the state, and what leaves the window in the settings.
  "touchedAt",
  "leavingAt",
  "nLeaving",
  // How many a stretch ranks at most for any request.
  "ranked",
] as const;
export type DrawSetting = (typeof settings)[number];
export const drawWords = settings.length;

export function placeOfSetting(name: DrawSetting): number {
  return settings.indexOf(name);
}

/** Words of a draw's state: the token or why there is none, its logit, the index of the noise, how many tokens are touched. */
export const stateWords = 4;
/** Of a touched token: id, count, bias. */
export const touchedWords = 3;
/** In place of a token. */
export const leftOpen = 0xffffffff;
export const notFinite = 0xfffffffe;
/** Words that a stretch gives of weights: of all, and of what stands certainly and perhaps before each candidate. */
export const weighedWords = 1 + 2 * nCandidates;

const word = (name: DrawSetting) => `draws[${drawWords}u * group.y + ${placeOfSetting(name)}u]`;
const number = (name: DrawSetting) => `bitcast<f32>(${word(name)})`;
const hasFilters = `(${word("hasTopP")} | ${word("hasMinP")}) == 1u`;

/** How far logits, scores (each) and weights (relative) may be from those of the exact sampler; `magnitude` of the largest logit. */
const bounds = `
fn logitBound(isTouched: u32, magnitude: f32, factor: f32, added: f32) -> f32 {
  return select(0.0, (magnitude * factor + 2.0 * added) * 0x1p-20f, isTouched == 1u);
}
fn scoreBound(bound: f32, magnitude: f32, factor: f32, added: f32, temperature: f32) -> f32 {
  if (temperature == 0.0) { return bound; }
  return ((magnitude * factor + added) / temperature + 17.0) * 0x1p-20f + bound / temperature;
}
fn weightBound(bound: f32, temperature: f32) -> f32 { return 0x1p-15f + 4.0 * bound / temperature; }
// In the ranking; with a margin surely, with a negative one perhaps.
fn isBefore(logit: f32, id: u32, other: f32, otherId: u32, margin: f32) -> bool {
  if (margin == 0.0) { return logit > other || (logit == other && id < otherId); }
  return id != otherId && logit > other + margin;
}
`;
const loadBounds = `
  let magnitude = bitcast<f32>(min(magnitudeBits, 0x7f7fffffu));
  let temperature = ${number("temperature")};
  let bound = logitBound(${word("isTouched")}, magnitude, ${number("factor")}, ${number("added")});`;

/** Over all stretches of a request: the highest changed logit and the largest magnitude. */
const loadPeaks = `
  var ownPeak = 0u;
  var ownMagnitude = 0u;
  for (var i = t; i < params.nStretches; i += threads) {
    ownPeak = max(ownPeak, peaks[2u * (group.y * params.nStretches + i)]);
    ownMagnitude = max(ownMagnitude, peaks[2u * (group.y * params.nStretches + i) + 1u]);
  }
  let peak = valueOf(mostOf(ownPeak, t, threads));
  let magnitudeBits = mostOf(ownMagnitude, t, threads);`;

/** The first \`n\` of what the stretches rank, to \`items\` and, their logits, to \`stands\`; key 0 stands for none. */
const loadItems = `
  var before = vec2(0xffffffffu, 0u);
  for (var round = 0u; round < n; round++) {
    var own = vec2(0u, 0xffffffffu);
    for (var i = t; i < params.nStretches * n; i += threads) {
      let at = (group.y * params.nStretches + i / n) * words + 1u + 2u * (i % n);
      let candidate = vec2(best[at], best[at + 1u]);
      if (ranksBefore(before, candidate) && ranksBefore(candidate, own)) { own = candidate; }
    }
    before = firstOf(own, t);
    if (t == 0u) {
      items[round] = before;
      if (before.x != 0u) { stands[round] = changed[group.y * params.vocabSize + before.y]; }
    }
  }
  workgroupBarrier();`;

const isLeftOut = `(isMasked && ((masks[group.y * params.maskWords + (id >> 5u)] >> (id & 31u)) & 1u) == 0u)`;

export const drawScores = (threads: number): Kernel =>
  kernel("draw scores", {
    params: ["vocabSize: u32", "maskWords: u32", "nStretches: u32"],
    buffers: [
      ["read", "logits: f32"],
      ["read", "asked: u32"],
      ["read", "masks: u32"],
      ["read", "draws: u32"],
      ["read", "state: u32"],
      ["write", "changed: f32"],
      ["write", "best: u32"],
      ["write", "peaks: u32"],
    ],
    threads,
    declarations: `${firstOfFunction}${mostOfFunction}${keyFunctions}${gumbelFunction}
var<workgroup> held: array<f32, ${perThread * threads}>;
struct Penalties { repeat: f32, frequency: f32, presence: f32 }
fn change(logit: f32, count: f32, bias: f32, penalties: Penalties) -> f32 {
  var changed = logit;
  if (count > 0.0) {
    changed = select(changed * penalties.repeat, changed / penalties.repeat, changed > 0.0);
    changed = (changed - count * penalties.frequency) - penalties.presence;
  }
  return changed + bias;
}`,
    body: `
  if (asked[${askedWords}u * group.y + 4u] == 0u) { return; }
  let begin = group.x * ${perThread}u * threads;
  let nRanked = asked[${askedWords}u * group.y + 1u];
  let isMasked = asked[${askedWords}u * group.y + 2u] == 1u;
  let words = 1u + 2u * asked[${askedWords}u * group.y + 3u];
  let at = (group.y * params.nStretches + group.x) * words;
  var magnitude = 0u;
  for (var i = 0u; i < ${perThread}u; i++) {
    let id = begin + i * threads + t;
    if (id >= params.vocabSize) { continue; }
    let logit = logits[group.y * params.vocabSize + id];
    magnitude = max(magnitude, bitcast<u32>(logit) & 0x7fffffffu);
    held[i * threads + t] = logit;
  }
  workgroupBarrier();
  let penalties = Penalties(${number("repeat")}, ${number("frequency")}, ${number("presence")});
  for (var i = t; i < state[${stateWords}u * group.y + 3u]; i += threads) {
    let touched = ${word("touchedAt")} + ${touchedWords}u * i;
    let id = state[touched];
    if (id < begin || id - begin >= ${perThread}u * threads) { continue; }
    held[id - begin] = change(held[id - begin], f32(state[touched + 1u]), bitcast<f32>(state[touched + 2u]), penalties);
  }
  workgroupBarrier();
  let temperature = ${number("temperature")};
  let isScored = ${word("topK")} == 0u && temperature > 0.0;
  let index = state[${stateWords}u * group.y + 2u];
  var keys: array<u32, ${perThread}>;
  var peak = 0u;
  for (var i = 0u; i < ${perThread}u; i++) {
    let id = begin + i * threads + t;
    if (id >= params.vocabSize) { continue; }
    let logit = held[i * threads + t];
    changed[group.y * params.vocabSize + id] = logit;
    if ${isLeftOut} { continue; }
    let key = keyOf(bitcast<u32>(logit));
    peak = max(peak, key);
    keys[i] = key;
    if (isScored) { keys[i] = keyOf(bitcast<u32>(logit / temperature + gumbelOf(${word("seed")}, ${word("choice")}, index, id))); }
  }
  let highest = mostOf(peak, t, threads);
  let most = mostOf(magnitude, t, threads);
  if (t == 0u) {
    peaks[2u * (group.y * params.nStretches + group.x)] = highest;
    peaks[2u * (group.y * params.nStretches + group.x) + 1u] = most;
  }
${rankKeys}`,
  });

export const drawWeights = (threads: number): Kernel =>
  kernel("draw weights", {
    params: ["vocabSize: u32", "maskWords: u32", "nStretches: u32"],
    buffers: [
      ["read", "changed: f32"],
      ["read", "asked: u32"],
      ["read", "masks: u32"],
      ["read", "draws: u32"],
      ["read", "peaks: u32"],
      ["read", "best: u32"],
      ["write", "weighed: f32"],
    ],
    threads,
    declarations: `${firstOfFunction}${mostOfFunction}${sumOf4Function}${keyFunctions}${expFunction}${bounds}
var<workgroup> items: array<vec2<u32>, ${nCandidates}>;
var<workgroup> stands: array<f32, ${nCandidates}>;`,
    body: `
  if (asked[${askedWords}u * group.y + 4u] == 0u || ${word("topK")} > 0u) { return; }
  if (!(${hasFilters}) || ${word("temperature")} == 0u) { return; }
  let n = ${nCandidates}u;
  let begin = group.x * ${perThread}u * threads;
  let isMasked = asked[${askedWords}u * group.y + 2u] == 1u;
  let words = 1u + 2u * asked[${askedWords}u * group.y + 3u];
${loadPeaks}${loadItems}${loadBounds}
  var total = 0.0;
  var sure: array<f32, ${nCandidates}>;
  var perhaps: array<f32, ${nCandidates}>;
  for (var i = 0u; i < ${perThread}u; i++) {
    let id = begin + i * threads + t;
    if (id >= params.vocabSize || ${isLeftOut}) { continue; }
    let logit = changed[group.y * params.vocabSize + id];
    let weight = expOf((logit - peak) / temperature);
    total += weight;
    for (var j = 0u; j < n; j++) {
      if (isBefore(logit, id, stands[j], items[j].y, 2.0 * bound)) { sure[j] += weight; }
      if (isBefore(logit, id, stands[j], items[j].y, -2.0 * bound)) { perhaps[j] += weight; }
    }
  }
  let at = (group.y * params.nStretches + group.x) * ${weighedWords}u;
  for (var j = 0u; j < n; j += 2u) {
    let both = sumOf4(vec4(sure[j], perhaps[j], sure[j + 1u], perhaps[j + 1u]), t);
    if (t == 0u) { for (var i = 0u; i < 4u; i++) { weighed[at + 1u + 2u * j + i] = both[i]; } }
  }
  let whole = sumOf4(vec4(total), t);
  if (t == 0u) { weighed[at] = whole.x; }`,
  });

/** A workgroup for each request. The token becomes that of its row, one position on; the window of the penalties moves on by one. */
export const drawNext = (threads: number): Kernel =>
  kernel("draw next", {
    params: ["vocabSize: u32", "nStretches: u32"],
    buffers: [
      ["read", "best: u32"],
      ["read", "draws: u32"],
      ["write", "state: u32"],
      ["read", "peaks: u32"],
      ["read", "weighed: f32"],
      ["read", "changed: f32"],
      ["read", "logits: f32"],
      ["write", "next: u32"],
    ],
    threads,
    declarations: `${firstOfFunction}${mostOfFunction}${keyFunctions}${gumbelFunction}${expFunction}${bounds}
const most = ${mostTopK + 1}u;
var<workgroup> items: array<vec2<u32>, most>;
var<workgroup> stands: array<f32, most>;
var<workgroup> scores: array<f32, most>;
// 0: left out; 1: kept; 2: open.
var<workgroup> kept: array<u32, most>;
var<workgroup> chosen: u32;
var<workgroup> isKnown: u32;`,
    body: `
  if (${word("isDrawn")} == 0u) { return; }
  let topK = ${word("topK")};
  let n = select(${nCandidates}u, topK + 1u, topK > 0u);
  let words = 1u + 2u * ${word("ranked")};
${loadPeaks}${loadItems}${loadBounds}
  var nItems = 0u;
  for (var i = 0u; i < n; i++) { nItems += select(0u, 1u, items[i].x != 0u); }
  // What stands behind the kth is only looked at to see whether it surely does.
  let nKept = select(nItems, min(nItems, topK), topK > 0u);
  let slack = weightBound(bound, temperature);
  if (t < nKept) {
    let id = items[t].y;
    let stand = stands[t];
    var score = stand;
    if (temperature > 0.0) { score = valueOf(items[t].x); }
    if (temperature > 0.0 && topK > 0u) {
      score = stand / temperature + gumbelOf(${word("seed")}, ${word("choice")}, state[${stateWords}u * group.y + 2u], id);
    }
    scores[t] = score;
    var total = 0.0;
    var sure = 0.0;
    var perhaps = 0.0;
    if (topK > 0u) {
      for (var i = 0u; i < nKept; i++) {
        let weight = expOf((stands[i] - peak) / temperature);
        total += weight;
        if (isBefore(stands[i], items[i].y, stand, id, 2.0 * bound)) { sure += weight; }
        if (isBefore(stands[i], items[i].y, stand, id, -2.0 * bound)) { perhaps += weight; }
      }
    } else if (${hasFilters} && temperature > 0.0) {
      for (var i = 0u; i < params.nStretches; i++) {
        let at = (group.y * params.nStretches + i) * ${weighedWords}u;
        total += weighed[at];
        sure += weighed[at + 1u + 2u * t];
        perhaps += weighed[at + 2u + 2u * t];
      }
    }
    var verdict = 1u;
    // Before the first nothing stands, and every filter keeps it.
    if (${hasFilters} && temperature > 0.0 && perhaps > 0.0) {
      if (${word("hasTopP")} == 1u) {
        let share = ${number("topP")} * total;
        if (!(perhaps * (1.0 + slack) < share * (1.0 - slack))) { verdict = 2u; }
        if (sure * (1.0 - slack) > share * (1.0 + slack)) { verdict = 0u; }
      }
      if (${word("hasMinP")} == 1u && verdict != 0u) {
        let weight = expOf((stand - peak) / temperature);
        if (weight * (1.0 - slack) < ${number("minP")}) { verdict = 2u; }
        if (weight * (1.0 + slack) < ${number("minP")}) { verdict = 0u; }
      }
    }
    kept[t] = verdict;
  }
  workgroupBarrier();
  if (t == 0u) {
    var winner = most;
    for (var i = 0u; i < nKept; i++) {
      if (kept[i] == 1u && (winner == most || scores[i] > scores[winner])) { winner = i; }
    }
    let doubt = 2.0 * scoreBound(bound, magnitude, ${number("factor")}, ${number("added")}, temperature);
    var isOpen = winner == most || !(doubt < 1e30f) || !(slack < 0.01f || temperature == 0.0);
    for (var i = 0u; i < nKept && !isOpen; i++) {
      isOpen = i != winner && kept[i] != 0u && scores[i] > scores[winner] - doubt;
    }
    // What is not among the candidates scores no more than the last of them; what stands behind top-k has to do so for sure.
    if (!isOpen && topK == 0u && nItems == n) { isOpen = winner == n - 1u || scores[n - 1u] > scores[winner] - doubt; }
    if (!isOpen && topK > 0u && nItems > topK && bound > 0.0) { isOpen = !(stands[topK - 1u] - stands[topK] > 2.0 * bound); }
    chosen = ${leftOpen}u;
    isKnown = 0u;
    if (magnitudeBits >= 0x7f800000u) { chosen = ${notFinite}u; }
    else if (!isOpen) {
      chosen = items[winner].y;
      let row = ${word("row")};
      next[4u * row] = chosen;
      next[4u * row + 1u] += 1u;
      state[${stateWords}u * group.y + 1u] = bitcast<u32>(logits[group.y * params.vocabSize + chosen]);
    }
    state[${stateWords}u * group.y] = chosen;
  }
  workgroupBarrier();
  let place = state[${stateWords}u * group.y + 2u] - ${word("index")};
  let isFollowed = chosen < ${notFinite}u && place < ${word("nLeaving")};
  let nTouched = state[${stateWords}u * group.y + 3u];
  let touchedAt = ${word("touchedAt")};
  if (isFollowed) {
    let leaves = draws[${word("leavingAt")} + place];
    for (var i = t; i < nTouched; i += threads) {
      let touched = touchedAt + ${touchedWords}u * i;
      let id = state[touched];
      if (id == leaves) { state[touched + 1u] -= 1u; }
      if (id == chosen) {
        state[touched + 1u] += 1u;
        isKnown = 1u;
      }
    }
  }
  storageBarrier();
  workgroupBarrier();
  if (t == 0u && isFollowed) {
    if (isKnown == 0u) {
      state[touchedAt + ${touchedWords}u * nTouched] = chosen;
      state[touchedAt + ${touchedWords}u * nTouched + 1u] = 1u;
      state[touchedAt + ${touchedWords}u * nTouched + 2u] = 0u;
      state[${stateWords}u * group.y + 3u] = nTouched + 1u;
    }
    state[${stateWords}u * group.y + 2u] += 1u;
  }`,
  });
