/**
 * Checked access to parsed JSON of unknown shape: every failure says which file, which place, what was expected and what
 * was found. Knows nothing of tokenizers.
 */
import { BitNetError } from "../base/errors.ts";

type JsonRecord = Readonly<Record<string, unknown>>;

/** A value and where it stands, such as `tokenizer.json: model.vocab`. */
export interface Located {
  readonly value: unknown;
  readonly where: string;
}

export function member(parent: Located, key: string): Located {
  const record = asRecord(parent);
  const separator = parent.where.endsWith(":") ? " " : ".";
  // Keys such as "constructor" exist on every object; only the file's own count.
  const value = Object.hasOwn(record, key) ? record[key] : undefined;
  return { value, where: `${parent.where}${separator}${key}` };
}

export function elements(parent: Located): Located[] {
  return asArray(parent).map((value, index) => ({ value, where: `${parent.where}[${index}]` }));
}

/** `undefined` and `null` both mean that the file says nothing. */
export function isAbsent({ value }: Located): boolean {
  return value === undefined || value === null;
}

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function asRecord(located: Located): JsonRecord {
  return isRecord(located.value) ? located.value : mismatch(located, "an object");
}

/** Without holes: elements that an array leaves out count as absent. */
export function asArray(located: Located): readonly unknown[] {
  return Array.isArray(located.value) ? Array.from(located.value) : mismatch(located, "a list");
}

export function asString(located: Located): string {
  return typeof located.value === "string" ? located.value : mismatch(located, "a string");
}

/** A token id: a whole number from 0 below 2^31. */
export function asId(located: Located): number {
  const { value } = located;
  const isId = typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 31;
  return isId ? value : mismatch(located, "a token id");
}

/** `false` when absent. */
export function asFlag(located: Located): boolean {
  if (isAbsent(located)) return false;
  return typeof located.value === "boolean" ? located.value : mismatch(located, "true or false");
}

/** @throws BitNetError TOKENIZER_INVALID, always. */
export function mismatch({ value, where }: Located, expected: string): never {
  const place = where.replace(/:$/, "");
  throw new BitNetError("TOKENIZER_INVALID", `${place}: expected ${expected}, found ${describe(value)}`);
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (isRecord(value)) return "an object";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
