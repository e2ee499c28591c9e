/**
 * Reads the fields of a request's body: absent and null are the same, wrong types and ranges end in a 400 that names the field, and
 * fields that nobody asks for are left alone.
 */
import { invalid, ServeError } from "./errors.ts";

const maxDepth = 64;
/** Values in a body, however large its bytes may be. */
const maxValues = 1_000_000;
const forbiddenKeys: ReadonlySet<string> = new Set(["__proto__"]);

/**
 * Parses a body as JSON, whatever its type says.
 * @throws ServeError INVALID_INPUT for anything but an object of sane depth.
 */
export function parseBody(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new ServeError("INVALID_INPUT", "the body is not valid JSON in UTF-8");
  }
  if (!isObject(value)) throw new ServeError("INVALID_INPUT", "the body must be a JSON object");
  checkShape(value);
  return value;
}

/** Level by level, since deep values would overflow a recursion. */
function checkShape(root: object): void {
  let level: object[] = [root];
  let nValues = 0;
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth)
      throw new ServeError("INVALID_INPUT", `the body nests deeper than ${maxDepth} levels`);
    const next: object[] = [];
    for (const each of level) {
      if (!Array.isArray(each) && Object.keys(each).some((key) => forbiddenKeys.has(key)))
        throw new ServeError("INVALID_INPUT", 'the body has a key "__proto__"');
      const values: unknown[] = Array.isArray(each) ? each : Object.values(each);
      nValues += values.length;
      if (nValues > maxValues) throw new ServeError("INVALID_INPUT", `the body has over ${maxValues} values`);
      for (const value of values) if (typeof value === "object" && value !== null) next.push(value);
    }
    level = next;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

interface Range {
  min?: number;
  max?: number;
}

export class Fields {
  readonly #values: Record<string, unknown>;
  readonly #where: string;

  /** @param where Path of this object within the body, "" for the body. */
  constructor(value: unknown, where = "") {
    if (!isObject(value)) throw invalid(where || "body", "an object");
    this.#values = value;
    this.#where = where;
  }

  path(name: string): string {
    return this.#where === "" ? name : `${this.#where}.${name}`;
  }

  /** Undefined when absent or null. */
  raw(name: string): unknown {
    const value = Object.hasOwn(this.#values, name) ? this.#values[name] : undefined;
    return value ?? undefined;
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined;
  }

  string(name: string, maxLength = Number.POSITIVE_INFINITY): string | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== "string") throw invalid(this.path(name), "a string");
    if (value.length > maxLength) throw invalid(this.path(name), `at most ${maxLength} characters`);
    return value;
  }

  requiredString(name: string): string {
    const value = this.string(name);
    if (value === undefined) throw invalid(this.path(name), "a string; it is missing");
    return value;
  }

  boolean(name: string): boolean | undefined {
    const value = this.raw(name);
    if (value === undefined || typeof value === "boolean") return value;
    throw invalid(this.path(name), "true or false");
  }

  number(name: string, { min, max }: Range = {}): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const isInside =
      typeof value === "number" &&
      Number.isFinite(value) &&
      value >= (min ?? -1e300) &&
      value <= (max ?? 1e300);
    if (isInside) return value;
    throw invalid(
      this.path(name),
      `a number${describeRange({ ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) })}`,
    );
  }

  integer(name: string, range: Range = {}): number | undefined {
    const value = this.number(name, range);
    if (value === undefined || Number.isSafeInteger(value)) return value;
    throw invalid(this.path(name), `a whole number${describeRange(range)}`);
  }

  choice<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw invalid(this.path(name), `one of ${choices.join(", ")}`);
    return found;
  }

  list(name: string, maxLength: number): unknown[] | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw invalid(this.path(name), "a list");
    if (value.length > maxLength) throw invalid(this.path(name), `at most ${maxLength} entries`);
    return value;
  }

  object(name: string): Fields | undefined {
    const value = this.raw(name);
    return value === undefined ? undefined : new Fields(value, this.path(name));
  }

  /** One string or a list of strings. */
  strings(name: string, maxCount: number, maxLength: number): string[] | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const list = typeof value === "string" ? [value] : value;
    const expected = `a string or a list of at most ${maxCount} strings of at most ${maxLength} characters`;
    const isGood =
      Array.isArray(list) &&
      list.length <= maxCount &&
      list.every((each) => typeof each === "string" && each.length <= maxLength);
    if (!isGood) throw invalid(this.path(name), expected);
    return list as string[];
  }
}

function describeRange({ min, max }: Range): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined) return ` from ${min} up`;
  return max === undefined ? "" : ` up to ${max}`;
}
