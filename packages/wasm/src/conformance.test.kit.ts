/** The conformance suite on every variant that this engine computes rightly, with one thread and with two. */
import { checkConformance, conformanceCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it } from "vitest";
import { createWasmBackend, wasmStatus } from "./index.ts";

const { variants } = await wasmStatus();
/** What this engine can run; `plain` and `exact` everywhere. */
export const usable = variants.filter(({ rejected }) => rejected === null).map(({ isa }) => isa);
export const configurations = usable.flatMap((isa) => [1, 2].map((threads) => [isa, threads] as const));

/** Demands equal bits of the cases that the reference answers fast, or of the others. */
export function describeConformance(
  speed: "fast" | "slow",
  among: readonly (readonly [isa: string, threads: number])[],
): void {
  const cases = conformanceCases().filter((testCase) => (testCase.slow ?? false) === (speed === "slow"));
  describe.each(among)("%s, %i threads", (isa, threads) => {
    const backend = createWasmBackend({ isa, threads });
    it.each(cases.map((testCase) => [testCase.name, testCase] as const))("%s", async (_, testCase) => {
      expect((await backend).isa).toBe(isa);
      expect((await backend).threads).toBe(threads);
      expect(await checkConformance(testCase, await backend)).toBeNull();
    });
  });
}
