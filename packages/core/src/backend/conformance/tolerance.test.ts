/** The judge of backends that round otherwise: it accepts the reference, and sees what lies just outside of the bounds. */
import { describe, expect, it } from "vitest";
import { createReferenceBackend } from "../reference/reference-backend.ts";
import { bentBackend, caseNamed } from "./bent-backend.test.kit.ts";
import { checkTolerance } from "./index.ts";

const named = [
  "rmsNormQuant 100 f16",
  "rmsNorm 3 parts of 7",
  "gatedActivation silu 33",
  "gatedActivation gelu 33",
  "residual 7",
  "lora 33 3 7 f16",
  "bitLinear 33+16 × 300, 8 rows, scale tensor",
  "bitLinear 33+5+5 × 384, 5 rows, scale 128, grouped activations",
  "attention 4/2 heads of 16, f32, half",
  "head f16 5 × 3",
  "rmsNormQuant refuses NaN",
];

/** Changes values of the output in place `index` of every step. */
const bendValues = (index: number, change: (value: number, i: number) => number) =>
  bentBackend(({ outputs }) => {
    const values = outputs[index]?.values;
    for (const [i, value] of values?.entries() ?? []) if (values) values[i] = change(value, i);
  });

describe("conformance within bounds", () => {
  it.each(named)("accepts the reference: %s", async (name) => {
    expect(await checkTolerance(caseNamed(name), createReferenceBackend())).toBeNull();
  });

  // Each is a small part of what a wrong kernel would do.
  it.each([
    ["gatedActivation silu 33", 2, 1e-5, /gatedActivation → out\[/],
    ["gatedActivation relu2 33", 2, 1e-6, /gatedActivation → out\[/],
    ["residual 7", 0, 1e-6, /residual → x\[/],
    ["rmsNorm 3 parts of 7", 1, 1e-5, /rmsNorm → out\[/],
    ["attention 4/2 heads of 16, f32, half", 3, 0.5, /attention → out\[/],
  ] as const)("%s: sees output %i off by %f of itself", async (name, output, part, message) => {
    const bent = bendValues(output, (value) => value * (1 + part));
    expect(await checkTolerance(caseNamed(name), bent)).toMatch(message);
  });

  it("sees a product that is off by a single one", async () => {
    const bent = bendValues(2, (value, i) => (i === 20 ? value * (1 + 2 ** -17) : value));
    const name = "bitLinear 33+16 × 300, 8 rows, scale tensor";
    expect(await checkTolerance(caseNamed(name), bent)).toMatch(/bitLinear → out0\[20\]/);
  });

  it("sees a quantised value that is no neighbour, or that no digit decides", async () => {
    const bent = (by: number) =>
      bentBackend(({ outputs }) => {
        const quantised = outputs.find((output) => output.quantised)?.quantised;
        if (quantised) quantised.values[5] = (quantised.values[5] ?? 0) + by;
      });
    for (const by of [1, 2])
      expect(await checkTolerance(caseNamed("rmsNormQuant 100 f16"), bent(by))).toMatch(/out\[5\]: expected/);
  });

  it("sees an answer that does not follow from the logits", async () => {
    const bent = bentBackend(({ heads }) => {
      for (const { ids } of heads) ids.reverse();
    });
    expect(await checkTolerance(caseNamed("head f16 5 × 3"), bent)).toMatch(/answer for row/);
  });

  it("sees logits that are wrong, even where the answers follow from them", async () => {
    const bent = bentBackend(({ heads }) => {
      for (const { logits } of heads) for (const [i, logit] of logits.entries()) logits[i] = logit * 1.001;
    });
    expect(await checkTolerance(caseNamed("head f16 5 × 3"), bent)).toMatch(/logits of row/);
  });

  it("sees a failure that does not come", async () => {
    const testCase = { ...caseNamed("residual 7"), expectedError: "NUMERIC_FAILURE" as const };
    expect(await checkTolerance(testCase, createReferenceBackend())).toMatch(
      /succeeded, expected NUMERIC_FAILURE/,
    );
  });
});
