/** The conformance suite on every instruction set that this machine can run, with one thread and with two. */
import { type ConformanceCase, checkConformance, conformanceCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it } from "vitest";
import { createNativeBackend, nativeStatus } from "./index.ts";

const { variants, reason } = nativeStatus();
const configurations = variants
  .filter(({ rejected }) => rejected === null)
  .flatMap(({ isa }) => [1, 2].map((threads) => [isa, threads] as const));

/** For quick checks: all instruction sets with two threads, and the best one with a single thread, too. */
export const fewConfigurations = configurations.filter(
  ([isa, threads]) => threads === 2 || isa === configurations[0]?.[0],
);
const others = configurations.filter((each) => !fewConfigurations.includes(each));

/** Demands equal bits of the cases that the reference answers fast, or of the others. */
export function describeConformance(speed: "fast" | "slow"): void {
  it.skipIf(reason !== null)("there is at least the scalar variant", () => {
    expect(configurations.map(([isa]) => isa)).toContain("scalar");
  });
  const all = conformanceCases();
  const slow = all.filter((testCase) => testCase.slow ?? false);
  const fast = all.filter((testCase) => !slow.includes(testCase));
  if (speed === "fast") {
    demand(fewConfigurations, fast);
  } else {
    demand(configurations, slow);
    demand(others, fast);
  }
}

function demand(where: typeof configurations, cases: readonly ConformanceCase[]): void {
  describe.each(where)("%s, %i threads", (isa, threads) => {
    it.each(cases.map((testCase) => [testCase.name, testCase] as const))("%s", async (_, testCase) => {
      const backend = await createNativeBackend({ isa, threads });
      expect(backend.isa).toBe(isa);
      expect(await checkConformance(testCase, backend)).toBeNull();
    });
  });
}
