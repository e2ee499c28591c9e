import { describe, expect, it } from "vitest";
import { createReferenceBackend } from "../reference/reference-backend.ts";
import type { StepResult } from "../step.ts";
import { bentBackend, caseNamed } from "./bent-backend.test.kit.ts";
import { checkConformance, checkMass, conformanceCases, massCases } from "./index.ts";

const cases = conformanceCases();

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

describe("conformance of shares of the mass", () => {
  const [first] = massCases();
  if (!first) throw new Error("no case");

  it.each(massCases().map((testCase) => [testCase.name, testCase] as const))(
    "the reference tells the truth: %s",
    async (_, testCase) => {
      expect(await checkMass(testCase, createReferenceBackend())).toBeNull();
    },
  );

  /** Bends the answers to requests for a share only. */
  const bent = (bend: (head: Required<StepResult["heads"][number]>) => void) =>
    bentBackend(({ heads }) => {
      for (const head of heads) if (head.rest) bend(head as Required<typeof head>);
    });

  it.each<[string, RegExp, (head: Required<StepResult["heads"][number]>) => void]>([
    [
      "a rest that weighs more",
      /the rest weighs/,
      ({ rest }) => Object.assign(rest, { high: rest.low * 0.99 }),
    ],
    [
      "a rest that weighs less",
      /the rest weighs/,
      ({ rest }) => Object.assign(rest, { low: rest.high * 1.01 }),
    ],
    ["a candidate left out", /candidate 1 is/, ({ ids }) => ids.copyWithin(1, 2)],
    ["another logit", /the logit of/, ({ logits }) => logits.fill(0, 3, 4)],
    ["another logit apart", /apart is/, ({ apartLogits }) => apartLogits.fill(0, 1, 2)],
  ])("sees %s", async (_, message, bend) => {
    expect(await checkMass(first, bent(bend))).toMatch(message);
  });
});
