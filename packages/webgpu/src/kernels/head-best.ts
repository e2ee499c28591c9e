/**
 * The highest logits, where they are: a workgroup for each stretch of the vocabulary gives its own first few in order, and how large its largest
 * magnitude is. Then either the processor merges the stretches, or `headNext` takes the highest as the next token of its row.
 */
import { askedWords } from "./head.ts";
import { type Kernel, kernel } from "./kernel.ts";
import { firstOfFunction, mostOfFunction } from "./reductions.ts";

/** Logits of a stretch for each thread of its workgroup. */
export const perThread = 8;
/** The most that a stretch ranks. */
export const mostRanked = 64;

/** Tokens of a stretch. */
export function stretchOf(threads: number): number {
  return perThread * threads;
}

/** Words that a stretch gives: its largest magnitude, then a key and an id for each that it ranks. */
export function bestWords(ranked: number): number {
  return 1 + 2 * ranked;
}

/** The logit that has this key; a higher key is a higher logit. */
export function logitOfKey(key: number): number {
  const word = new Uint32Array([key >= 0x80000000 ? key - 0x80000000 : ~key]);
  return new Float32Array(word.buffer)[0] ?? 0;
}

/** A key for each logit, in the order of the ranking; 0 stands for none: no finite logit has it. */
export const keyFunctions = `
fn keyOf(bits: u32) -> u32 {
  // −0 ranks as +0.
  if (bits == 0x80000000u) { return bits; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}
fn valueOf(key: u32) -> f32 { return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u)); }
`;

/** Gives the `nRanked` highest `keys` of a stretch, which begins at token `begin`, from word `at` of `best` on. */
export const rankKeys = `
  for (var round = 0u; round < nRanked; round++) {
    var own = vec2(0u, 0xffffffffu);
    for (var i = 0u; i < ${perThread}u; i++) {
      let candidate = vec2(keys[i], begin + i * threads + t);
      if (ranksBefore(candidate, own)) { own = candidate; }
    }
    let first = firstOf(own, t);
    if (t == 0u) {
      best[at + 1u + 2u * round] = first.x;
      best[at + 2u + 2u * round] = first.y;
    }
    if (first.x != 0u && (first.y - begin) % threads == t) { keys[(first.y - begin) / threads] = 0u; }
  }`;

export const headBest = (threads: number): Kernel =>
  kernel("head best", {
    params: ["vocabSize: u32", "maskWords: u32"],
    buffers: [
      ["read", "logits: f32"],
      ["read", "asked: u32"],
      ["read", "masks: u32"],
      ["write", "best: u32"],
    ],
    threads,
    declarations: `${firstOfFunction}${mostOfFunction}${keyFunctions}`,
    body: `
  if (asked[${askedWords}u * group.y + 4u] == 1u) { return; }
  let begin = group.x * ${perThread}u * threads;
  let nRanked = asked[${askedWords}u * group.y + 1u];
  let isMasked = asked[${askedWords}u * group.y + 2u] == 1u;
  let words = 1u + 2u * asked[${askedWords}u * group.y + 3u];
  let at = (group.y * ((params.vocabSize + ${perThread}u * threads - 1u) / (${perThread}u * threads)) + group.x) * words;
  var keys: array<u32, ${perThread}>;
  var magnitude = 0u;
  for (var i = 0u; i < ${perThread}u; i++) {
    let id = begin + i * threads + t;
    if (id >= params.vocabSize) { continue; }
    let bits = bitcast<u32>(logits[group.y * params.vocabSize + id]);
    magnitude = max(magnitude, bits & 0x7fffffffu);
    if (!isMasked || ((masks[group.y * params.maskWords + (id >> 5u)] >> (id & 31u)) & 1u) == 1u) { keys[i] = keyOf(bits); }
  }
  let most = mostOf(magnitude, t, threads);
  if (t == 0u) { best[at] = most; }
${rankKeys}`,
  });

/** A workgroup for each request, each for a row of its own: the highest becomes its token, one position on. */
export const headNext = (threads: number): Kernel =>
  kernel("head next", {
    params: ["nStretches: u32"],
    buffers: [
      ["read", "best: u32"],
      ["read", "asked: u32"],
      ["write", "next: u32"],
    ],
    threads,
    declarations: firstOfFunction,
    body: `
  var own = vec2(0u, 0xffffffffu);
  for (var i = t; i < params.nStretches; i += threads) {
    let at = (group.y * params.nStretches + i) * 3u;
    let candidate = vec2(best[at + 1u], best[at + 2u]);
    if (ranksBefore(candidate, own)) { own = candidate; }
  }
  let first = firstOf(own, t);
  if (t == 0u) {
    let row = asked[${askedWords}u * group.y];
    next[4u * row] = first.y;
    next[4u * row + 1u] += 1u;
  }`,
  });

/** Single logits of requests: pairs of request and id. */
export const headPick: Kernel = kernel("head pick", {
  params: ["vocabSize: u32"],
  buffers: [
    ["read", "logits: f32"],
    ["read", "picks: u32"],
    ["write", "picked: f32"],
  ],
  threads: 64,
  body: `
  let i = group.x * 64u + t;
  if (i >= arrayLength(&picked)) { return; }
  picked[i] = logits[picks[2u * i] * params.vocabSize + picks[2u * i + 1u]];`,
});
