import { describe, expect, it } from "vitest";
import { checkConformance, conformanceCases } from "./conformance/index.ts";
import { expandProgram, fusedNames } from "./expand.ts";
import { opNames } from "./operations.ts";
import { createReferenceBackend } from "./reference/reference-backend.ts";
import { validateProgram } from "./validate-program.ts";

const isUnfused = (name: string) => !fusedNames.some((fused) => fused === name);
const unfused = createReferenceBackend({ operations: opNames.filter(isUnfused) });
const cases = conformanceCases().filter(
  ({ name, program }) => !name.startsWith("expanded") && program.ops.some(({ op }) => !isUnfused(op)),
);

describe("fused operations", () => {
  it("all stand in a case", () => {
    const used = new Set(cases.flatMap(({ program }) => program.ops.map(({ op }) => op)));
    expect(fusedNames.filter((name) => !used.has(name))).toEqual([]);
  });

  it.each(cases.filter(({ name }) => !name.startsWith("attention")).map((c) => [c.name, c] as const))(
    "have the bits of their definitions: %s",
    async (_, testCase) => {
      expect(await checkConformance(testCase, unfused)).toBeNull();
    },
  );

  it("have the bits of their definitions: rotation and cache", async () => {
    const [first] = cases.filter(({ name }) => name.startsWith("attention"));
    expect(first && (await checkConformance(first, unfused))).toBeNull();
  });

  it("give valid programs with the same ids", () => {
    for (const { program } of cases) {
      const expanded = expandProgram(program, isUnfused);
      validateProgram(expanded);
      expect(expanded.buffers.slice(0, program.buffers.length)).toEqual(program.buffers);
      expect(expanded.ops.every(({ op }) => isUnfused(op))).toBe(true);
    }
  });
});
