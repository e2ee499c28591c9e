/** Conformance in the cases that the reference answers fast, and the brackets of the mass. */
import { checkMass, massCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it } from "vitest";
import { describeConformance, fewConfigurations } from "./conformance.test.kit.ts";
import { createNativeBackend } from "./index.ts";

describeConformance("fast");

describe.each(fewConfigurations)("%s, %i threads", (isa, threads) => {
  it.each(massCases().map((testCase) => [testCase.name, testCase] as const))("%s", async (_, testCase) => {
    const backend = await createNativeBackend({ isa, threads });
    expect(await checkMass(testCase, backend)).toBeNull();
  });
});
