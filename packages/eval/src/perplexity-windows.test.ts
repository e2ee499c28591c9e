import { expect, test } from "vitest";
import { perplexityOf, rollingWindows, windowsOf } from "./perplexity-windows.ts";

const ids = (n: number) => Int32Array.from({ length: n }, (_, i) => i);
const shown = (windows: { ids: Int32Array; from: number }[]) =>
  windows.map(({ ids, from }) => [[...ids].join(" "), from]);

test("llama.cpp: whole chunks, each with the beginning token, second halves", () => {
  const setting = { counting: "llama.cpp", contextLength: 4, stride: 4, bosId: 99 } as const;
  expect(shown(windowsOf(ids(11), setting))).toEqual([
    ["99 1 2 3", 3],
    ["99 5 6 7", 3],
  ]);
  expect(shown(windowsOf(ids(8), { ...setting, bosId: null }))[1]).toEqual(["4 5 6 7", 3]);
  expect(() => windowsOf(ids(7), setting)).toThrow(/at least 8/);
});

test.each([
  [10, 4, 2],
  [11, 4, 3],
  [3, 8, 8],
  [9, 4, 1],
  [64, 16, 15],
])(
  "Hugging Face: %d tokens in windows of %d by %d, every token but the first once",
  (n, contextLength, stride) => {
    const windows = windowsOf(ids(n), { counting: "huggingface", contextLength, stride, bosId: null });
    const scored = windows.flatMap(({ ids, from }) => [...ids.subarray(from)]);
    expect(scored).toEqual([...ids(n)].slice(1));
    for (const window of windows) expect(window.ids.length).toBeLessThanOrEqual(contextLength);
  },
);

test("Hugging Face: later windows give their tokens the context that the stride leaves", () => {
  const windows = windowsOf(ids(8), { counting: "huggingface", contextLength: 4, stride: 2, bosId: null });
  expect(shown(windows)).toEqual([
    ["0 1 2 3", 1],
    ["2 3 4 5", 2],
    ["4 5 6 7", 2],
  ]);
  expect(() =>
    windowsOf(ids(8), { counting: "huggingface", contextLength: 4, stride: 5, bosId: null }),
  ).toThrow(/leaves tokens out/);
});

test("Hugging Face: without an overlap the first token of each window has no context and is left out", () => {
  const windows = windowsOf(ids(9), { counting: "huggingface", contextLength: 4, stride: 4, bosId: null });
  expect(shown(windows)).toEqual([
    ["0 1 2 3", 1],
    ["4 5 6 7", 1],
  ]);
});

test("the error is that of the mean, carried through the exponential", () => {
  const losses = [1, 2, 3, 4];
  const sum = 10;
  const squares = losses.reduce((total, x) => total + x * x, 0);
  const { perplexity, standardError } = perplexityOf({ sum, squares, nTokens: 4 });
  expect(perplexity).toBeCloseTo(Math.exp(2.5), 12);
  expect(standardError).toBeCloseTo(Math.exp(2.5) * Math.sqrt(1.25 / 3), 12);
});

test("rolling: every token once, with the one before as context", () => {
  const text = Int32Array.from({ length: 10 }, (_, i) => i + 1);
  const windows = rollingWindows(text, { prefix: 0, contextLength: 5, keepsPrefix: false });
  expect(shown(windows)).toEqual([
    ["0 1 2 3 4", 1],
    ["4 5 6 7 8", 1],
    ["8 9 10", 1],
  ]);
  expect(windows.flatMap(({ ids, from }) => [...ids.subarray(from)])).toEqual([...text]);
  // Models that want a beginning-of-text token have it in later windows, too.
  const kept = rollingWindows(text, { prefix: 0, contextLength: 5, keepsPrefix: true });
  expect(shown(kept)).toEqual([
    ["0 1 2 3 4", 1],
    ["0 4 5 6 7", 2],
    ["0 7 8 9 10", 2],
  ]);
});
