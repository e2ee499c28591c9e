/** The variant without integer dot products of the language: the same integers. */
import { checkTolerance, conformanceCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it } from "vitest";
import { createWebGpuBackend } from "./index.ts";
import { backend } from "./test-device.test.kit.ts";

const names = /^bitLinear (3\+1 × 7|33\+16 × 300|33\+5 × 384|33\+5\+5 × 384|extremes)/;

describe.skipIf(backend === null)("without dot4I8Packed", () => {
  const plain = backend === null ? null : createWebGpuBackend({ isa: "wgsl-plain" });
  it.each(
    conformanceCases()
      .filter(({ name }) => names.test(name))
      .map((testCase) => [testCase.name, testCase] as const),
  )("%s", async (_, testCase) => {
    const found = await plain;
    if (found === null) throw new Error("there is no device");
    expect(found.isa).toBe("wgsl-plain");
    expect(await checkTolerance(testCase, found)).toBeNull();
  });
});
