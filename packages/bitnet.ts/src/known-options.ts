/** Refuses options that do not exist, with the one that was probably meant. */
import { BitNetError, suggestion } from "@bitnet.ts/core/base";
import type { BitNetLoadOptions } from "./types.ts";

/** @throws BitNetError INVALID_ARGUMENT that lists every problem, also in `details.problems`. */
export function checkKnown(where: string, options: unknown, known: Readonly<Record<string, true>>): void {
  checkIsObject(where, options);
  const names = Object.keys(known);
  const problems = Object.keys(options)
    .filter((name) => !Object.hasOwn(known, name))
    .map((name) => `${name}: no such option${suggestion(name, names)}`);
  if (problems.length === 0) return;
  throw new BitNetError("INVALID_ARGUMENT", `${where}: ${problems.join("; ")}`, { details: { problems } });
}

/** Of the options of `load` those that are used before a worker or the engine sees them. @throws BitNetError INVALID_ARGUMENT. */
export function checkCallbacks(options: BitNetLoadOptions): void {
  checkIsObject("load", options);
  for (const name of ["onProgress", "onNotice", "onDownload"] as const) {
    const given: unknown = options[name];
    if (given !== undefined && typeof given !== "function")
      throw new BitNetError("INVALID_ARGUMENT", `${name}: expected a function, found ${kindOf(given)}`);
  }
}

function checkIsObject(where: string, options: unknown): asserts options is object {
  if (typeof options === "object" && options !== null && !Array.isArray(options)) return;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${where}: expected an object of options, found ${kindOf(options)}`,
  );
}

/** What a wrong argument is, in a few words. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (value === "") return "an empty text";
  if (Array.isArray(value)) return "an array";
  return `${/^[aeiou]/.test(typeof value) ? "an" : "a"} ${typeof value}`;
}
