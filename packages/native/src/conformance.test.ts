/** The conformance suite on every instruction set that this machine can run: equal bits, with one thread and with two. */
import { checkConformance, checkMass, conformanceCases, massCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it } from "vitest";
import { createNativeBackend, nativeStatus } from "./index.ts";

const { variants, reason } = nativeStatus();
const cases = conformanceCases();
const configurations = variants
  .filter(({ rejected }) => rejected === null)
  .flatMap(({ isa }) => [1, 2].map((threads) => [isa, threads] as const));

it.skipIf(reason !== null)("there is at least the scalar variant", () => {
  expect(configurations.map(([isa]) => isa)).toContain("scalar");
});

describe.each(configurations)("%s, %i threads", (isa, threads) => {
  it.each(cases.map((testCase) => [testCase.name, testCase] as const))("%s", async (_, testCase) => {
    const backend = await createNativeBackend({ isa, threads });
    expect(backend.isa).toBe(isa);
    expect(await checkConformance(testCase, backend)).toBeNull();
  });

  it.each(massCases().map((testCase) => [testCase.name, testCase] as const))("%s", async (_, testCase) => {
    const backend = await createNativeBackend({ isa, threads });
    expect(await checkMass(testCase, backend)).toBeNull();
  });
});
