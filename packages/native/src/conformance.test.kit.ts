/** The conformance suite on every instruction set that this machine can run, with one thread and with two. */
import { checkConformance, conformanceCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it } from "vitest";
import { createNativeBackend, nativeStatus } from "./index.ts";

const { variants, reason } = nativeStatus();
export const configurations = variants
  .filter(({ rejected }) => rejected === null)
  .flatMap(({ isa }) => [1, 2].map((threads) => [isa, threads] as const));

/** Demands equal bits of the cases that the reference answers fast, or of the others. */
export function describeConformance(speed: "fast" | "slow"): void {
  it.skipIf(reason !== null)("there is at least the scalar variant", () => {
    expect(configurations.map(([isa]) => isa)).toContain("scalar");
  });
  const cases = conformanceCases().filter((testCase) => (testCase.slow ?? false) === (speed === "slow"));
  describe.each(configurations)("%s, %i threads", (isa, threads) => {
    it.each(cases.map((testCase) => [testCase.name, testCase] as const))("%s", async (_, testCase) => {
      const backend = await createNativeBackend({ isa, threads });
      expect(backend.isa).toBe(isa);
      expect(await checkConformance(testCase, backend)).toBeNull();
    });
  });
}
