/** The sampler against the filters on all logits, and top-p of a whole vocabulary against a sort. */
import { describe, expect, test } from "vitest";
import { expF32 } from "../base/elementary.ts";
import { topPOfAll } from "./filters.ts";
import { describeSampler } from "./sampler-naive.test.kit.ts";

const f32 = Math.fround;

describeSampler(400, 600);

describe("top-p of a whole vocabulary", () => {
  test("keeps the same tokens as ranking all of it, with much weight far below the best", () => {
    // 300 tokens down to −6, the others at −7 and −17: the far ones hold some percent of the weight.
    const row = Float32Array.from({ length: 3000 }, (_, i) => (i < 300 ? -i / 50 : i % 2 === 0 ? -7 : -17));
    for (const p of [0.2, 0.5, 0.8, 0.9, 0.93, 0.95, 0.96, 0.97, 0.99, 0.9999999]) {
      for (const temperature of [0.5, 1, 2]) {
        const ids = [...row.keys()].sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0) || a - b);
        const weights = ids.map((id) => expF32(f32((row[id] ?? 0) / temperature)));
        const total = weights.reduce((sum, w) => sum + w, 0);
        let n = 0;
        for (let sum = 0; sum < p * total; n++) sum += weights[n] ?? 0;
        expect([...topPOfAll(row, temperature, p).ids]).toEqual(ids.slice(0, n));
      }
    }
  });

  test("gives a beginning of the ranking of the right length", () => {
    const equal = new Float32Array(1000).fill(2);
    const half = topPOfAll(equal, 1, 0.5);
    expect([...half.ids]).toEqual(Array.from({ length: 500 }, (_, i) => i));
    const oneForbidden = equal.slice();
    oneForbidden[3] = Number.NEGATIVE_INFINITY;
    expect(topPOfAll(oneForbidden, 1, 1e-9).ids).toEqual(Int32Array.of(0));
    expect(topPOfAll(new Float32Array(5).fill(Number.NEGATIVE_INFINITY), 1, 0.5).ids).toHaveLength(0);
  });
});
