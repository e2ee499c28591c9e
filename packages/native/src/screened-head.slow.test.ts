/** Answers of the screened head: the bits of the whole product, whatever table, request, batch, thread or instruction set. */
import {
  type BitNetError,
  type Executable,
  type HeadRequest,
  type ScreeningReport,
  type Step,
  screeningOf,
} from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import { openBackend } from "./backend.ts";
import { nativeStatus } from "./index.ts";
import { type HeadCase, headCases, headProgram, headRequests, headStep } from "./screened-head.test.kit.ts";
import { missingAddon } from "./test-program.test.kit.ts";

const cases = headCases();
const isas = nativeStatus()
  .variants.filter(({ rejected }) => rejected === null)
  .map(({ isa }) => isa);

interface Setup {
  threads?: number;
  isa?: string | undefined;
  screening: boolean;
}

/** Runs the steps one after the other; a step that fails gives its code and row. */
async function run(head: HeadCase, steps: readonly Step[], { threads = 2, isa, screening }: Setup) {
  const maxRows = Math.max(...steps.map(({ tokens }) => tokens.length));
  const backend = openBackend(threads, isa, { screening });
  const executable = await backend.load(headProgram(head), { kvType: "f16", nPages: 1, maxRows });
  try {
    const results: unknown[] = [];
    for (const step of steps) results.push(await outcome(executable, step));
    return { results, report: reportOf(executable) };
  } finally {
    await executable.dispose();
  }
}

function reportOf(executable: Executable): ScreeningReport {
  const report = screeningOf(executable);
  if (report === undefined) throw new Error("the engine does not report its screening");
  return report;
}

async function outcome(executable: Executable, step: Step): Promise<unknown> {
  try {
    return (await executable.run(step)).heads;
  } catch (error) {
    const { code, details } = error as BitNetError;
    return { code, row: details.row };
  }
}

/** In one batch, and one by one: the first step makes the copy, the others use it. */
function stepsFor(head: HeadCase): Step[] {
  const requests = headRequests(head.vocabSize);
  return [
    headStep(head, requests.slice(0, 1), 1),
    headStep(head, requests, 2),
    ...requests.map((request, i) => headStep(head, [request], 3 + i)),
  ];
}

describe.skipIf(missingAddon)("screened head", () => {
  const screenedBy = new Map<string, ScreeningReport>();

  it.each(cases.map((head) => [head.name, head] as const))(
    "equals the whole product: %s",
    async (name, head) => {
      const steps = stepsFor(head);
      const whole = await run(head, steps, { screening: false });
      expect(whole.report.screened).toBe(0);
      expect(whole.report.bytes).toBe(0);
      for (const isa of isas) {
        for (const threads of isa === isas[0] ? [1, 2, 5] : [2]) {
          const screened = await run(head, steps, { screening: true, isa, threads });
          expect(screened.results, `${isa}, ${threads} threads`).toEqual(whole.results);
          if (isa === isas[0]) screenedBy.set(name, screened.report);
        }
      }
    },
  );

  it("is what answered, wherever that makes sense", () => {
    for (const [name, { screened, full, candidates }] of screenedBy) {
      // The range in which an overflow cannot be ruled out is left to the whole product.
      if (/^large against large/.test(name)) expect(screened, name).toBe(0);
      else expect(screened, name).toBeGreaterThan(10);
      expect(full, name).toBeGreaterThan(0);
      expect(candidates, name).toBeGreaterThanOrEqual(screened > 0 ? 1 : 0);
    }
  });

  it("makes the copy of a large table over several steps", async () => {
    // 35 MB in int8, of which a step makes 32.
    const large: HeadCase = {
      ...{ name: "large table", type: "f32", vocabSize: 70_000, cols: 512 },
      weight: (row, col) => ((Math.imul(row, 0x9e3779b1) ^ Math.imul(col, 0x85ebca6b)) >> 8) / 2 ** 24,
    };
    const request: Omit<HeadRequest, "row"> = { want: { kind: "top", k: 3 } };
    const steps = Array.from({ length: 4 }, (_, i) => headStep(large, [request], i));
    const whole = await run(large, steps, { screening: false });
    const screened = await run(large, steps, { screening: true });
    expect(screened.results).toEqual(whole.results);
    expect(screened.report).toMatchObject({ screened: 2, full: 2 });
  });

  it("computes few rows exactly", async () => {
    const head = cases.find(({ name }) => name === "plain, bf16 1500 × 256") ?? cases[0];
    if (head === undefined) throw new Error("no case");
    const request: Omit<HeadRequest, "row"> = { want: { kind: "top", k: 1 } };
    const steps = Array.from({ length: 20 }, (_, i) => headStep(head, [request], i));
    const { report } = await run(head, steps, { screening: true, threads: 1 });
    expect(report).toMatchObject({ screened: 19, full: 1 });
    expect(report.candidates / report.screened).toBeLessThan(60);
  });
});
