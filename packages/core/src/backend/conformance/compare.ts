/**
 * Runs a conformance case on a backend and compares with the reference: equal bits, no tolerance. A difference is described
 * by place, expected and actual value.
 */
import { BitNetError } from "../../base/errors.ts";
import type { Backend } from "../backend.ts";
import { createReferenceBackend } from "../reference/reference-backend.ts";
import type { StepResult } from "../step.ts";
import type { ConformanceCase } from "./case.ts";

/** What a case gave: a result per step, and the error that ended it. */
interface Outcome {
  results: StepResult[];
  error?: { code: string; row: unknown };
}

const expectedOutcomes = new Map<string, Promise<Outcome>>();

/** Returns null when `backend` gives the bits of the reference, else a description of the first difference. */
export async function checkConformance(testCase: ConformanceCase, backend: Backend): Promise<string | null> {
  let expected = expectedOutcomes.get(testCase.name);
  if (!expected) {
    expected = referenceOutcome(testCase);
    expectedOutcomes.set(testCase.name, expected);
  }
  const wanted = await expected;
  if (wanted.error?.code !== testCase.expectedError)
    return `the reference ended with ${wanted.error?.code ?? "success"}, expected ${testCase.expectedError ?? "success"}`;
  const outcome = await runCase(testCase, backend);
  return outcome === "lacking" ? null : describeDifference(wanted, outcome, "outcome");
}

async function referenceOutcome(testCase: ConformanceCase): Promise<Outcome> {
  const outcome = await runCase(testCase, createReferenceBackend());
  if (outcome === "lacking") throw new Error(`${testCase.name}: the reference lacks a kind of head request`);
  return outcome;
}

async function runCase(
  { program, kvType, nPages, maxRows, steps, wants = [] }: ConformanceCase,
  backend: Backend,
): Promise<Outcome | "lacking"> {
  const executable = await backend.load(program, { kvType, nPages, maxRows });
  if (!wants.every((want) => executable.wants.includes(want))) {
    await executable.dispose();
    return "lacking";
  }
  const results: StepResult[] = [];
  try {
    for (const step of steps) results.push(await executable.run(step));
    return { results };
  } catch (error) {
    if (!(error instanceof BitNetError)) throw error;
    return { results, error: { code: error.code, row: error.details.row } };
  } finally {
    await executable.dispose();
  }
}

/** First difference between two trees of objects, arrays, typed arrays and numbers; numbers compare by bits. */
export function describeDifference(expected: unknown, actual: unknown, where: string): string | null {
  if (ArrayBuffer.isView(expected)) return describeTyped(expected, actual, where);
  if (typeof expected === "object" && expected !== null && typeof actual === "object" && actual !== null) {
    const keys = new Set([...Object.keys(expected), ...Object.keys(actual)]);
    for (const key of keys) {
      const difference = describeDifference(
        Reflect.get(expected, key),
        Reflect.get(actual, key),
        `${where}.${key}`,
      );
      if (difference) return difference;
    }
    return null;
  }
  return Object.is(expected, actual)
    ? null
    : `${where}: expected ${String(expected)}, found ${String(actual)}`;
}

function describeTyped(expected: ArrayBufferView, actual: unknown, where: string): string | null {
  const a = expected as Float32Array;
  if (!ArrayBuffer.isView(actual) || actual.constructor !== a.constructor)
    return `${where}: expected a ${a.constructor.name}, found ${String(actual)}`;
  const b = actual as Float32Array;
  if (a.length !== b.length) return `${where}: expected ${a.length} elements, found ${b.length}`;
  for (let i = 0; i < a.length; i++)
    if (!Object.is(a[i], b[i])) return `${where}[${i}]: expected ${a[i]}, found ${b[i]}`;
  return null;
}
