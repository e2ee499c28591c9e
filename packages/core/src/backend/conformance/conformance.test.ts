import { describe, expect, it } from "vitest";
import type { Backend } from "../backend.ts";
import { createReferenceBackend } from "../reference/reference-backend.ts";
import type { StepResult } from "../step.ts";
import { checkConformance, conformanceCases } from "./index.ts";

const cases = conformanceCases();

/** The reference with every result passed through `bend`. */
function bentBackend(bend: (result: StepResult) => void): Backend {
  const backend = createReferenceBackend();
  return {
    ...backend,
    async load(program, options) {
      const executable = await backend.load(program, options);
      const run = executable.run.bind(executable);
      executable.run = async (step) => {
        const result = await run(step);
        bend(result);
        return result;
      };
      return executable;
    },
  };
}

function caseNamed(name: string) {
  const found = cases.find((testCase) => testCase.name === name);
  if (!found) throw new Error(`no case "${name}"`);
  return found;
}

describe("conformance suite", () => {
  it("names every case once", () => {
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });

  const failing = cases.filter(({ expectedError }) => expectedError);
  it.each(failing.map((testCase) => [testCase.name, testCase] as const))(
    "the reference agrees: %s",
    async (_, testCase) => {
      expect(await checkConformance(testCase, createReferenceBackend())).toBeNull();
    },
  );

  it("sees a single wrong bit of an activation", async () => {
    const bent = bentBackend(({ outputs }) => {
      const values = outputs[0]?.values ?? new Float32Array(1);
      const bits = new Int32Array(values.buffer);
      bits[34] = (bits[34] ?? 0) ^ 1;
    });
    expect(await checkConformance(caseNamed("residual 7"), bent)).toMatch(
      /outputs\.0\.values\[34\]: expected/,
    );
  });

  it("tells +0 from −0", async () => {
    const bent = bentBackend(({ outputs }) => {
      const values = outputs[0]?.values ?? new Float32Array();
      for (const [i, value] of values.entries()) if (value === 0) values[i] = -value;
    });
    expect(await checkConformance(caseNamed("gatedActivation relu2 33"), bent)).toMatch(
      /expected -?0, found -?0/,
    );
  });

  it("sees candidates in the wrong order", async () => {
    const bent = bentBackend(({ heads }) => {
      for (const { ids } of heads) ids.reverse();
    });
    expect(await checkConformance(caseNamed("head f32 1001 × 100"), bent)).toMatch(/heads\.\d+\.ids\[0\]/);
  });
});
