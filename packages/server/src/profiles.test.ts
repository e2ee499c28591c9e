import { expect, test } from "vitest";
import { planProfile, profileNames, programBytes } from "./profiles.ts";

/** About BitNet b1.58 2B-4T. */
const model = {
  weightBytes: 1_187_000_000,
  screenBytes: 128_256 * 2560,
  activationBytes: 512 * (6 * 2560 + 3 * 6912) * 4,
  kvBytesPerToken: 2 * 30 * 5 * 128 * 2,
  tableBytesPerToken: 512,
  trainedContextLength: 4096,
};
const small = { ...model, weightBytes: 50e6, screenBytes: 8e6, activationBytes: 8e6 };
const roomy = { cores: 64, machineBytes: 256 * 2 ** 30 };

test("the parts of every plan fit into its memory, and the cache holds a context for each request", () => {
  for (const name of profileNames)
    for (const each of [small, ...(name === "mobile" || name === "edge" ? [] : [model])]) {
      const plan = planProfile(name, each, roomy);
      const { programBytes: program, weightBytes, workBytes, cacheBytes } = plan.parts;
      expect(program + weightBytes + workBytes + cacheBytes).toBeLessThanOrEqual(plan.memoryBytes);
      expect(plan.cacheTokens).toBeGreaterThanOrEqual(plan.parallel * plan.contextLength);
      expect(plan.contextLength).toBeGreaterThanOrEqual(256);
      expect(plan.maxOutputTokens).toBeLessThanOrEqual(plan.contextLength);
    }
});

test("profiles have the threads and memory that they are known for", () => {
  const known = profileNames.map((name) => {
    const { threads, memoryBytes, aim } = planProfile(name, small, roomy);
    return [name, threads, memoryBytes / 2 ** 20, aim];
  });
  expect(known).toEqual([
    ["mobile", 2, 512, "latency"],
    ["edge", 4, 1024, "efficiency"],
    ["server", 8, 2048, "throughput"],
    ["cloud", 16, 4096, "scalability"],
  ]);
});

test("what cannot be is an error with the arithmetic", () => {
  const sum = programBytes + model.weightBytes + model.activationBytes + 256 * (model.kvBytesPerToken + 512);
  expect(() => planProfile("mobile", model, roomy)).toThrow(
    `512 MiB of memory cannot hold the model: 128 MiB for the program + 1132 MiB of weights + 70.5 MiB of work space + 256 tokens × 77312 bytes of KV cache = ${(sum / 2 ** 20).toFixed(0)} MiB`,
  );
  // One byte decides.
  const exact = { ...roomy, memoryBytes: sum, contextLength: 256 };
  expect(planProfile("mobile", model, exact).contextLength).toBe(256);
  expect(() => planProfile("mobile", model, { ...exact, memoryBytes: sum - 1 })).toThrow("cannot hold");
});

test("a smaller machine gets less, and is told why", () => {
  const plan = planProfile("cloud", model, { cores: 2, machineBytes: 2 * 2 ** 30 });
  expect(plan.threads).toBe(2);
  expect(plan.memoryBytes).toBe(2 * 2 ** 30);
  expect(plan.parallel).toBeLessThan(64);
  expect(plan.notes.join("\n")).toMatch(/memory: 4096 MiB wanted.*\n.*threads: 16 wanted/);
  const tight = planProfile("server", model, { ...roomy, memoryBytes: 1500 * 2 ** 20 });
  expect(tight.screening).toBe(false);
  expect(tight.notes.join("\n")).toContain("screening: off");
});
