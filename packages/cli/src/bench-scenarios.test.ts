import { describe, expect, it } from "vitest";
import {
  type BatchResult,
  chooseBatch,
  describeScenario,
  judgeScenario,
  type Scenario,
  type ScenarioMeasurement,
  type ScenarioName,
  scenarios,
} from "./bench-scenarios.ts";

function scenarioOf(name: ScenarioName): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found === undefined) throw new Error(`no scenario ${name}`);
  return found;
}

// Twice as many texts: first twice the tokens, then less and less.
const batches: BatchResult[] = [
  { sequences: 1, tokensPerSecond: 10, tokenMs: 100, memoryBytes: 100e6 },
  { sequences: 2, tokensPerSecond: 19, tokenMs: 105, memoryBytes: 110e6 },
  { sequences: 4, tokensPerSecond: 32, tokenMs: 125, memoryBytes: 130e6 },
  { sequences: 8, tokensPerSecond: 34, tokenMs: 235, memoryBytes: 170e6 },
  { sequences: 16, tokensPerSecond: 35, tokenMs: 457, memoryBytes: 250e6 },
];

const measurement: ScenarioMeasurement = {
  scenario: scenarioOf("mobile"),
  threads: 2,
  privateBytes: 40e6,
  mappedBytes: 50e6,
  kvBytesPerToken: 1e5,
  tokensPerSequence: 100,
  batches,
  bandwidthShare: 0.9,
};

describe("batch", () => {
  it("follows the priority", () => {
    expect(chooseBatch("latency", batches)?.sequences).toBe(2);
    expect(chooseBatch("efficiency", batches)?.sequences).toBe(4);
    expect(chooseBatch("throughput", batches)?.sequences).toBe(16);
    expect(chooseBatch("scalability", batches)?.sequences).toBe(4);
  });

  it("scales to the end where every step is worth it, and is nothing without measurements", () => {
    expect(chooseBatch("scalability", batches.slice(0, 3))?.sequences).toBe(4);
    for (const { priority } of scenarios) expect(chooseBatch(priority, [])).toBeUndefined();
  });
});

describe("judgement", () => {
  it("recommends within the memory limit only", () => {
    const scenario = { ...scenarioOf("server"), memoryLimitBytes: 135e6 };
    const answer = judgeScenario({ ...measurement, scenario });
    expect(answer).toMatchObject({ fits: true, recommendedBatch: 4, contextTokens: 450 });
  });

  it("says how much is missing and what would help", () => {
    const scenario = { ...scenarioOf("mobile"), memoryLimitBytes: 95e6 };
    const overByContext = judgeScenario({ ...measurement, scenario });
    expect(overByContext).toMatchObject({ fits: false, recommendedBatch: null, contextTokens: 50 });
    expect(overByContext.tips[0]).toBe("memory is 5.00 MB over the limit; shorten the context by 50 tokens");
    const overByWeights = judgeScenario({
      ...measurement,
      scenario: { ...scenario, memoryLimitBytes: 80e6 },
    });
    expect(overByWeights.contextTokens).toBe(0);
    expect(overByWeights.tips[0]).toBe(
      "memory is 20.0 MB over the limit; weights and buffers alone take 90.0 MB: take a smaller model",
    );
  });

  it("gives tips that follow from the measurements", () => {
    const tips = (change: Partial<ScenarioMeasurement>) =>
      judgeScenario({ ...measurement, ...change }).tips.join("\n");
    expect(tips({})).toMatch(/2 sequences together give 1.9 × the tokens of one.*105 ms instead of 100 ms/);
    expect(tips({})).toMatch(/reads at 90 % of the memory's speed: more threads will not help/);
    expect(tips({ bandwidthShare: 0.3 })).toMatch(/30 % .*: computing or overhead bounds it/);
    expect(tips({ bandwidthShare: null })).not.toMatch(/memory's speed/);
    expect(tips({})).not.toMatch(/measure there/);
    expect(tips({ scenario: scenarioOf("cloud") })).toMatch(/with 2 threads.*has 16: measure there/);
  });

  it("is shown with every batch, those over the limit marked", () => {
    const scenario = { ...scenarioOf("mobile"), memoryLimitBytes: 135e6 };
    const changed = { ...measurement, scenario };
    const text = describeScenario(changed, judgeScenario(changed));
    expect(text).toMatch(/^Fits +yes, with room for 450 tokens of context$/m);
    expect(text).toMatch(/^Batch +2 sequences$/m);
    expect(text.match(/over the limit\)/g)).toHaveLength(2);
  });
});
