import { describe, expect, test } from "vitest";
import { answerHead } from "../backend/reference/head.ts";
import { readLogprob } from "./logprobs.ts";
import { topOfAll } from "./ranking.ts";

const row = Float32Array.of(1, 3, -2, 3, 0.5);
const total = row.reduce((sum, logit) => sum + Math.exp(logit), 0);
const logprob = (id: number) => expect.closeTo((row[id] ?? 0) - Math.log(total), 5);

describe("log-probabilities", () => {
  test("from all logits", () => {
    const result = answerHead({ row: 0, want: { kind: "all" }, logSumExp: true }, row);
    expect(readLogprob(result, new Int32Array(), 2, 3)).toEqual({
      id: 2,
      logprob: logprob(2),
      top: [
        [1, logprob(1)],
        [3, logprob(3)],
        [0, logprob(0)],
      ],
    });
  });

  test("from candidates and ids apart, in one ranking", () => {
    const apart = Int32Array.of(3, 4);
    const result = answerHead({ row: 0, want: { kind: "top", k: 2 }, apart, logSumExp: true }, row);
    expect(readLogprob(result, apart, 4, 2)).toEqual({
      id: 4,
      logprob: logprob(4),
      top: [
        [1, logprob(1)],
        [3, logprob(3)],
      ],
    });
    expect(readLogprob(result, apart, 1, 0)).toEqual({ id: 1, logprob: logprob(1), top: [] });
  });

  test("a token that was not answered is a defect", () => {
    const result = answerHead({ row: 0, want: { kind: "top", k: 1 }, logSumExp: true }, row);
    expect(() => readLogprob(result, new Int32Array(), 2, 1)).toThrow(/did not answer/);
  });
});

test("the best k of a row, ties by lower id", () => {
  const logits = Float32Array.from({ length: 500 }, (_, id) => (id * 37) % 11);
  const expected = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
  for (const k of [1, 2, 10, 100, 500, 600]) {
    const { ids, logits: best } = topOfAll(logits, k);
    expect([...ids]).toEqual(expected.slice(0, k));
    expect([...best]).toEqual(expected.slice(0, k).map((id) => logits[id]));
  }
});
