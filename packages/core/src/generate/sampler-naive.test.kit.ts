/** The sampler, which asks the head for little, against the filters applied to all logits. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { answerHead } from "../backend/reference/head.ts";
import type { HeadRequest, HeadResult } from "../backend/step.ts";
import { expF32 } from "../base/elementary.ts";
import { gumbel, threefry } from "../base/noise.ts";
import { SequenceBreakers } from "./dry-breakers.ts";
import { looseAnswer } from "./loose-answer.test.kit.ts";
import type { GenerateOptions, SamplingSettings } from "./options.ts";
import { chooseFrom, massAnswers, settingsOf } from "./sampler.test.kit.ts";
import { Sampler } from "./sampler.ts";

const f32 = Math.fround;
/** Tokens that DRY's repetitions do not reach across. */
const breakers = [3, 11];
const sequenceBreakers = new SequenceBreakers(new Map(breakers.map((id) => [id, [new Int32Array()]])));

/** docs/numerics.md, "Samplers", word by word on all logits, sharing no code with the sampler. */
function naiveChoice(row: Float32Array, context: number[], s: SamplingSettings, index: number): number {
  const window = s.repeatLastN < 0 ? context : s.repeatLastN === 0 ? [] : context.slice(-s.repeatLastN);
  let ranked = [...row].map((raw, id) => ({ id, logit: change(raw, id) }));
  ranked = ranked.filter(({ logit }) => logit !== Number.NEGATIVE_INFINITY);
  ranked.sort((a, b) => b.logit - a.logit || a.id - b.id);
  if (s.temperature === 0) return ranked[0]?.id ?? -1;
  if (s.topK > 0) ranked = ranked.slice(0, s.topK);
  if (s.typicalP < 1) ranked = typical(ranked);
  if (s.topP < 1) ranked = nucleus(ranked);
  if (s.minP > 0) {
    const d = distances(ranked);
    const cut = d.findIndex((x) => expF32(x) < s.minP);
    if (cut >= 0) ranked = ranked.slice(0, cut);
  }
  if (threefry(s.seed, 0, index, 0xffffffff) / 2 ** 32 < s.xtcProbability && s.xtcThreshold <= 0.5) {
    const weights = ranked.map(({ logit }) => expF32(f32(logit - (ranked[0]?.logit ?? 0))));
    const total = weights.reduce((sum, w) => sum + w, 0);
    const nAbove = weights.filter((w) => w >= s.xtcThreshold * total).length;
    if (nAbove > 1) ranked = ranked.slice(nAbove - 1);
  }
  let winner = { id: -1, score: Number.NaN };
  for (const { id, logit } of ranked) {
    const score = f32(f32(logit / s.temperature) + gumbel({ seed: s.seed, choice: 0, index }, id));
    if (winner.id < 0 || score > winner.score || (score === winner.score && id < winner.id))
      winner = { id, score };
  }
  return winner.id;

  function change(raw: number, id: number): number {
    const bias = s.logitBias.get(id) ?? 0;
    if (bias === Number.NEGATIVE_INFINITY) return bias;
    const count = window.filter((token) => token === id).length;
    let logit = raw;
    if (count > 0) {
      logit = f32(logit > 0 ? logit / s.repeatPenalty : logit * s.repeatPenalty);
      logit = f32(logit - f32(count * s.frequencyPenalty));
      logit = f32(logit - s.presencePenalty);
    }
    logit = f32(logit + Math.max(f32(bias - repetition(id)), -3.4028234663852886e38));
    const largest = f32(3.4028234663852886e38);
    return Number.isNaN(logit) ? -largest : Math.min(Math.max(logit, -largest), largest);
  }

  /** DRY by loops: the longest text that stands at the end and, earlier, before `id`. Breakers are single tokens. */
  function repetition(id: number): number {
    if (s.dryMultiplier === 0 || s.dryPenaltyLastN === 0 || breakers.includes(id)) return 0;
    const from = s.dryPenaltyLastN < 0 ? 0 : Math.max(0, context.length - s.dryPenaltyLastN);
    let longest = -1;
    for (let at = from + 1; at < context.length; at++) {
      if (context[at] !== id) continue;
      let n = 0;
      while (at - 1 - n >= from) {
        const mine = context[context.length - 1 - n] ?? -1;
        if (mine !== context[at - 1 - n] || breakers.includes(mine)) break;
        n++;
      }
      longest = Math.max(longest, n);
    }
    const after = context.length - from;
    if (longest < s.dryAllowedLength || after <= s.dryAllowedLength) return 0;
    let penalty = s.dryMultiplier;
    for (let n = s.dryAllowedLength; n < longest; n++)
      penalty = Math.min(f32(penalty * s.dryBase), 3.4028234663852886e38);
    return penalty;
  }

  function distances(list: { logit: number }[]): number[] {
    return list.map(({ logit }) => f32(f32(logit - (list[0]?.logit ?? 0)) / s.temperature));
  }

  function nucleus(list: typeof ranked): typeof ranked {
    const weights = distances(list).map(expF32);
    const total = weights.reduce((sum, w) => sum + w, 0);
    let sum = 0;
    for (let i = 0; i < list.length; i++) {
      sum += weights[i] ?? 0;
      if (sum >= s.topP * total) return list.slice(0, i + 1);
    }
    return list;
  }

  function typical(list: typeof ranked): typeof ranked {
    const d = distances(list);
    const weights = d.map(expF32);
    const total = weights.reduce((sum, w) => sum + w, 0);
    const expected =
      d.reduce((sum, x, i) => (weights[i] === 0 ? sum : sum + (weights[i] ?? 0) * x), 0) / total;
    // The order in which the window grows, as a sort: nearer first, upper before lower, then away from the middle.
    const order = d.map((x, i) => ({ i, isUpper: x >= expected, score: Math.abs(x - expected) }));
    order.sort(
      (a, b) =>
        a.score - b.score || Number(b.isUpper) - Number(a.isUpper) || (a.isUpper ? b.i - a.i : a.i - b.i),
    );
    const kept = new Set<number>();
    for (let sum = 0, n = 0; sum < s.typicalP * total && n < order.length; n++) {
      const { i = 0 } = order[n] ?? {};
      kept.add(i);
      sum += weights[i] ?? 0;
    }
    return list.filter((_, i) => kept.has(i));
  }
}

interface Case {
  row: Float32Array;
  context: number[];
  options: GenerateOptions;
  nReported: number | null;
  /** How the head answers; by default as the reference does. */
  answer?: (request: HeadRequest, row: Float32Array) => HeadResult;
}

/** Fails with everything that is needed to repeat the case. */
function checkCase({ row, context, options, nReported, answer = answerHead }: Case): void {
  const settings = settingsOf({ seed: 1, ...options }, row.length);
  const sampler = new Sampler(
    settings,
    { vocabSize: row.length, contextLength: 1000 },
    nReported,
    sequenceBreakers,
  );
  for (const token of context) sampler.see(token);
  for (const index of [0, 1, 2, 3]) {
    const expected = naiveChoice(row, context, settings, index);
    let actual = -1;
    try {
      actual = chooseFrom(sampler, index, (request) => answer(request, row));
    } catch (error) {
      if (expected >= 0) throw error;
    }
    if (actual !== expected)
      throw new Error(`index ${index}: expected ${expected}, got ${actual}; ${JSON.stringify([...row])}`);
  }
}

/** Rows that hurt: ties, all equal, outliers, opposite signs of zero, neighbours of one unit in the last place. */
const rows = fc.integer({ min: 1, max: 40 }).chain((vocabSize) => {
  const logit = fc.oneof(
    { weight: 6, arbitrary: fc.double({ min: -12, max: 12, noNaN: true }).map(f32) },
    { weight: 3, arbitrary: fc.integer({ min: -4, max: 4 }) },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom(1e30, -1e30, 2e38, 3.4e38, -3.4e38, 0, -0, 88, -88, 1e-40, f32(4 + 2e-7))
        .map(f32),
    },
  );
  const row = fc.array(logit, { minLength: vocabSize, maxLength: vocabSize });
  return fc.oneof(
    { weight: 5, arbitrary: row },
    { weight: 1, arbitrary: logit.map((x) => new Array<number>(vocabSize).fill(x)) },
  );
});

const options = fc.record(
  {
    temperature: fc.constantFrom(0, 1e-3, 0.2, 0.7, 1, 3, 1e4),
    topK: fc.constantFrom(0, 1, 2, 5, 39, 1000),
    topP: fc.constantFrom(1e-9, 0.1, 0.5, 0.9, 0.999999, 1),
    minP: fc.constantFrom(0, 1e-40, 0.05, 0.5, 1),
    typicalP: fc.constantFrom(0.01, 0.5, 0.95, 1),
    repeatPenalty: fc.constantFrom(0.5, 1, 1.05, 2, 1e30),
    repeatLastN: fc.constantFrom(-1, 0, 1, 3, 64),
    frequencyPenalty: fc.constantFrom(-2, 0, 0.3, 3e38),
    presencePenalty: fc.constantFrom(-1, 0, 0.7),
    dryMultiplier: fc.constantFrom(0, 0, 0.8, 50, 3e38),
    dryBase: fc.constantFrom(1, 1.75, 1e20),
    dryAllowedLength: fc.constantFrom(0, 1, 2, 5),
    dryPenaltyLastN: fc.constantFrom(-1, 0, 1, 3, 8),
    xtcProbability: fc.constantFrom(0, 0, 0.5, 1),
    xtcThreshold: fc.constantFrom(0, 0.05, 0.1, 0.3, 0.5, 0.6),
    seed: fc.constantFrom(0, 7, 0xffffffff),
  },
  { requiredKeys: [] },
);

const cases = rows.chain((values) => {
  const id = fc.integer({ min: 0, max: values.length - 1 });
  const bias = fc.constantFrom(Number.NEGATIVE_INFINITY, -3, -0.1, 0.1, 5, 3e38);
  return fc.record({
    row: fc.constant(Float32Array.from(values)),
    context: fc.oneof(
      fc.array(id, { maxLength: 12 }),
      // Texts that repeat themselves.
      fc.array(fc.integer({ min: 0, max: Math.min(3, values.length - 1) }), { maxLength: 20 }),
      fc.array(id, { maxLength: 5 }).map((period) => [...period, ...period, ...period]),
    ),
    options: fc
      .tuple(options, fc.array(fc.tuple(id, bias), { maxLength: 5 }))
      .map(([each, biases]): GenerateOptions => ({ ...each, logitBias: new Map(biases) })),
    nReported: fc.constantFrom(null, null, 0, 3),
  });
});

/**
 * @param numRuns Random cases of each property.
 * @param vocabSize Of the cases that are not random.
 */
export function describeSampler(numRuns: number, vocabSize: number): void {
  describe("the same token as the filters on all logits", () => {
    test("any options, small adversarial rows", () => {
      fc.assert(fc.property(cases, checkCase), { seed: 20260102, numRuns });
    });

    test("true answers that say less: shorter lists, wider brackets", () => {
      Object.assign(massAnswers, { decided: 0, open: 0 });
      const shortened = cases.chain((each) =>
        fc
          .tuple(
            fc.constantFrom(1, 2, 5, 40),
            fc.constantFrom(0, 1e-6, 0.01, 0.3, 1, Number.POSITIVE_INFINITY),
          )
          .map(([nListed, width]) => ({ ...each, answer: looseAnswer(nListed, width) })),
      );
      const onlyMass = shortened.map((each) => ({
        ...each,
        nReported: null,
        options: { topP: 0.9, ...each.options, topK: 0, typicalP: 1 },
      }));
      fc.assert(fc.property(onlyMass, checkCase), { seed: 20260103, numRuns });
      expect(massAnswers.decided).toBeGreaterThan(numRuns / 3);
      expect(massAnswers.open).toBeGreaterThan(numRuns / 6);
    });

    const shapes: Record<string, (i: number) => number> = {
      peaked: (i) => -0.02 * i,
      flat: (i) => 1e-6 * (i % 7),
      equal: () => 1.5,
      steps: (i) => -(i % 5),
      wave: (i) => 6 * Math.sin(i * 1.7) * Math.sin(i * 0.37),
    };
    const chains: GenerateOptions[] = [
      {},
      { topP: 0.5, temperature: 1 },
      { topP: 0.999, temperature: 2 },
      { topP: 1, typicalP: 0.9 },
      { topP: 0.95, typicalP: 0.5, minP: 0.3 },
      { topP: 1, minP: 0.02 },
      { topP: 1 },
      { topK: 40 },
      { temperature: 0 },
      { topP: 1, xtcProbability: 1, xtcThreshold: 0.02 },
      { topP: 0.9, xtcProbability: 0.5 },
      { topK: 40, xtcProbability: 1, xtcThreshold: 0.01, dryMultiplier: 2, dryAllowedLength: 0 },
    ];
    test.each(Object.keys(shapes))(`a vocabulary of ${vocabSize}, %s`, (shape) => {
      const row = Float32Array.from(
        { length: vocabSize },
        (_, i) => shapes[shape]?.((i * 1237) % vocabSize) ?? 0,
      );
      const context = [1, 2, 3, 2, 1237 % vocabSize, vocabSize - 1];
      for (const each of chains)
        for (const nReported of [null, 5])
          checkCase({ row, context, options: { repeatPenalty: 1.3, ...each }, nReported });
    });
  });
}
