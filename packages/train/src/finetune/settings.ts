/** What fine-tuning is told, with the defaults that people know from PEFT scripts. Every problem is listed. */
import { BitNetError } from "@bitnet.ts/core";
import type { TextMode } from "../data/parse-example.ts";
import { type LoraShape, loraTargets } from "../graph/transformer.ts";
import type { Schedule } from "../train/schedule.ts";

export interface FinetuneSettings {
  /** Files of examples, or records as their lines hold them; together one set. */
  data: readonly (string | readonly unknown[])[];
  /** Examples for evaluation; without it the last ones of the data are kept apart: a tenth, at most 64. */
  evalData: string | readonly unknown[] | null;
  textMode: TextMode;
  maxSamples: number | null;
  /** Null: every weight is trained. */
  lora: LoraShape | null;
  seed: number;
  epochs: number;
  /** Optimiser steps in place of `epochs`. */
  steps: number | null;
  rate: number;
  decay: Schedule["decay"];
  /** Null: 100, but not more than a tenth of the steps. */
  warmupSteps: number | null;
  weightDecay: number;
  /** Examples that are computed together, and how many such batches make an optimiser step. */
  batchSize: number;
  accumulation: number;
  /** Longest document in tokens; longer ones are cut. */
  maxLength: number;
  /** Weight of what the assistant does not say; 0 masks it. */
  otherWeight: number;
  evaluateEvery: number;
  checkpointEvery: number;
  keepCheckpoints: number;
  /** Compute values inside layers again on the way back: less memory, the same bits. */
  recomputes: boolean;
}

export const finetuneDefaults: Omit<FinetuneSettings, "data"> = {
  evalData: null,
  textMode: "split",
  maxSamples: null,
  lora: { rank: 32, alpha: 64, dropout: 0.1, targets: loraTargets },
  seed: 1,
  epochs: 1,
  steps: null,
  rate: 1e-4,
  decay: "linear",
  warmupSteps: null,
  weightDecay: 0,
  batchSize: 2,
  accumulation: 8,
  maxLength: 2048,
  otherWeight: 0,
  evaluateEvery: 500,
  checkpointEvery: 500,
  keepCheckpoints: 3,
  recomputes: true,
};

/** @throws BitNetError INVALID_ARGUMENT that lists every problem. */
export function finetuneSettings(
  given: Pick<FinetuneSettings, "data"> & Partial<FinetuneSettings>,
): FinetuneSettings {
  const settings = { ...finetuneDefaults, ...given };
  const problems: string[] = [];
  const counts = [
    "batchSize",
    "accumulation",
    "maxLength",
    "evaluateEvery",
    "checkpointEvery",
    "keepCheckpoints",
  ];
  const optional = ["steps", "maxSamples"].filter((key) => Reflect.get(settings, key) !== null);
  for (const key of [...counts, ...optional]) {
    const value: unknown = Reflect.get(settings, key);
    if (!Number.isSafeInteger(value) || (value as number) < 1)
      problems.push(`${key} is ${String(value)}, expected a positive integer`);
  }
  const check = (key: keyof FinetuneSettings, isValid: boolean, expected: string) => {
    if (!isValid) problems.push(`${key} is ${String(settings[key])}, expected ${expected}`);
  };
  const { epochs, rate, warmupSteps, weightDecay, otherWeight, seed, data } = settings;
  check("data", data.length > 0, "a file at least");
  check("epochs", epochs > 0 && Number.isFinite(epochs), "a positive number");
  check("rate", rate > 0 && Number.isFinite(rate), "a positive number");
  check("weightDecay", weightDecay >= 0 && weightDecay <= 1, "a number from 0 to 1");
  check("otherWeight", otherWeight >= 0 && otherWeight <= 1, "a number from 0 to 1");
  check("seed", Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32, "an unsigned 32-bit integer");
  check(
    "warmupSteps",
    warmupSteps === null || (Number.isSafeInteger(warmupSteps) && warmupSteps >= 0),
    "an integer from 0 up",
  );
  if (problems.length > 0)
    throw new BitNetError("INVALID_ARGUMENT", `fine-tuning: ${problems.join("; ")}`, {
      details: { problems },
    });
  return settings;
}
