/** Conformance in the cases that the reference answers fast, on what every engine has and on what this one chooses. */
import { checkMass, massCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it } from "vitest";
import { describeConformance, usable } from "./conformance.test.kit.ts";
import { createWasmBackend } from "./index.ts";

const chosen = (await createWasmBackend()).isa;

it("what needs no relaxed instruction is always there", () => {
  expect(usable).toContain("wasm-plain-exact");
  expect(usable).toContain(chosen);
});

describeConformance("fast", [
  ["wasm-plain-exact", 2],
  [chosen, 1],
]);

describe("the brackets of the mass", () => {
  const backend = createWasmBackend({ threads: 2 });
  it.each(massCases().map((testCase) => [testCase.name, testCase] as const))("%s", async (_, testCase) => {
    expect(await checkMass(testCase, await backend)).toBeNull();
  });
});
