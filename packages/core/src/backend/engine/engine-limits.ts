/** LoadOptions as the C++ engine takes them (native/engine/executable.h, LoadLimits). */
import { BitNetError } from "../../base/errors.ts";
import type { LoadOptions } from "../backend.ts";

const maxInt32 = 2 ** 31 - 1;

/**
 * @param allThreads Every step runs on all threads, however small it is.
 * @throws BitNetError INVALID_ARGUMENT.
 */
export function encodeLimits(
  { maxRows, nPages, kvType, screening = true }: LoadOptions,
  threads: number,
  allThreads: boolean,
): Int32Array {
  const check = (name: string, value: number, least: number) => {
    if (Number.isInteger(value) && value >= least && value <= maxInt32) return;
    throw new BitNetError("INVALID_ARGUMENT", `load: ${name} ${value} is not an integer from ${least}`);
  };
  check("maxRows", maxRows, 1);
  check("nPages", nPages, 0);
  if (kvType !== "f16" && kvType !== "f32") {
    throw new BitNetError("INVALID_ARGUMENT", `load: kvType "${kvType}" is neither "f16" nor "f32"`);
  }
  const flags = [allThreads, screening].map(Number);
  return Int32Array.of(maxRows, nPages, kvType === "f16" ? 1 : 0, threads, ...flags);
}
