/** What the C++ engine is told when it loads a program. */
import type { LoadOptions } from "../backend.ts";
import { validateLoadOptions } from "../validate.ts";
import { engineRecords } from "./engine-records.ts";
import type { ScreeningOption } from "./screening.ts";
import { recordWords } from "./word-record.ts";

/** The engine's own options, beside those that every backend has. */
export interface EngineOptions extends ScreeningOption {
  threads: number;
  /** Every step runs on all of them, however small it is. */
  allThreads: boolean;
}

/** @throws BitNetError INVALID_ARGUMENT. */
export function encodeLimits(
  options: LoadOptions,
  { threads, allThreads, screening = true }: EngineOptions,
): Int32Array {
  validateLoadOptions(options);
  const { maxRows, nPages, kvType } = options;
  const limits = { maxRows, nPages, kvType, threads, allThreads, screening };
  return recordWords(engineRecords.loadLimits, limits);
}
