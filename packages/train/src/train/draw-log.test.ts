import { expect, it } from "vitest";
import { drawLog } from "./draw-log.ts";
import type { LogEntry } from "./log.ts";

const entry = (step: number, loss: number): LogEntry => ({
  ...{ kind: "step", step, loss, tokens: 10 * step, rate: 1e-3, weightDecay: 0 },
  ...{ gradientNorm: 1, seconds: step, tokensPerSecond: 10 },
});

it("shows the loss falling, as wide and high as it is told", () => {
  const entries = Array.from({ length: 100 }, (_, i) => entry(i + 1, 8 / (i + 1)));
  const lines = drawLog([...entries, { kind: "evaluation", step: 100, loss: 0.5, tokens: 1000 }], 40, 5);
  expect(lines).toHaveLength(6);
  expect(Math.max(...lines.slice(0, 5).map((line) => line.length))).toBeLessThanOrEqual(40);
  expect(lines[0]).toMatch(/^ *\d\.\d{3} █ +$/); // the first column alone reaches the top
  expect(lines[4]).toMatch(/█.*▁$/);
  expect(lines[5]).toBe("step 100: loss 0.0800, evaluation 0.5000 at step 100, rate 1.00e-3, 10 tok/s");
});

it("has something to say of a log that is empty, of one step, and of equal losses", () => {
  expect(drawLog([], 80, 4)).toEqual(["no step has been made yet"]);
  expect(drawLog([entry(1, 2)], 80, 2)[2]).toContain("step 1: loss 2.0000");
  expect(drawLog([entry(1, 2), entry(2, 2)], 80, 1)[0]).toBe("  2.000 ▁▁");
});
