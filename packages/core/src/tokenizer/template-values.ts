/**
 * Values of templates and how Python prints them, under a meter: a template comes with a model file and may be hostile, so
 * every operation pays for what it reads and writes before it does so. Counters, not clocks: a template fails or passes
 * the same way everywhere.
 */
import { BitNetError } from "../base/errors.ts";

/** A Python float; whole numbers are integers unless they are wrapped. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** What a template asked for and does not exist. */
export class Undefined {
  readonly what: string;
  constructor(what: string) {
    this.what = what;
  }
}

export class Tuple {
  readonly items: readonly Value[];
  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** The only values that change. */
export class Namespace {
  readonly fields = new Map<string, Value>();
}

export class Callable {
  readonly name: string;
  readonly call: (args: readonly Value[], named: ReadonlyMap<string, Value>) => Value;
  constructor(name: string, call: Callable["call"]) {
    this.name = name;
    this.call = call;
  }
}

export type Key = string | number | boolean | null;
export type Dict = Map<Key, Value>;
export type Value =
  | string
  | number
  | boolean
  | null
  | Float
  | Undefined
  | Tuple
  | Namespace
  | Callable
  | readonly Value[]
  | Dict;

export function templateError(message: string): BitNetError {
  return new BitNetError("TEMPLATE_FAILED", message);
}

/** What one rendering may still use. */
export class Meter {
  private steps: number;
  private characters: number;
  readonly longest: number;

  constructor(limits: { steps: number; characters: number; value: number }) {
    this.steps = limits.steps;
    this.characters = limits.characters;
    this.longest = limits.value;
  }

  step(count = 1): void {
    this.steps -= count;
    if (this.steps < 0) throw templateError("used up its evaluation steps");
  }

  /** Pays for characters read or written. */
  spend(count: number): void {
    this.characters -= count;
    if (!(this.characters >= 0)) throw templateError("used up its budget of characters");
  }

  /** Pays for a value of so many characters before it is made. */
  make(length: number): void {
    if (!(length <= this.longest)) throw templateError(`a value grew past ${this.longest} characters`);
    this.spend(length);
  }

  text(value: string): string {
    this.make(value.length);
    return value;
  }

  /** An element weighs as much as 16 characters. */
  list<T extends readonly Value[]>(items: T): T {
    this.make(16 * items.length);
    return items;
  }
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

export function isDict(value: Value): value is Dict {
  return value instanceof Map;
}

export function typeName(value: Value): string {
  if (value === null) return "None";
  if (typeof value === "string") return "str";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return "int";
  if (value instanceof Float) return "float";
  if (value instanceof Tuple) return "tuple";
  if (isList(value)) return "list";
  if (isDict(value)) return "dict";
  return value instanceof Undefined ? "undefined" : value instanceof Namespace ? "Namespace" : "function";
}

/** The number that a value is, bool included. */
export function numberOf(value: Value): number | null {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  return value instanceof Float ? value.value : null;
}

export function isTrue(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  if (typeof value === "string") return value !== "";
  if (isList(value)) return value.length > 0;
  if (isDict(value)) return value.size > 0;
  if (value instanceof Tuple) return value.items.length > 0;
  const number = numberOf(value);
  return number === null || number !== 0;
}

export function requireDefined(value: Value): Value {
  if (value instanceof Undefined) throw templateError(`${value.what} is undefined`);
  return value;
}

/** What a loop goes over. */
export function itemsOf(value: Value, meter: Meter): readonly Value[] {
  if (value instanceof Undefined) return [];
  if (isList(value)) return value;
  if (value instanceof Tuple) return value.items;
  if (isDict(value)) return meter.list([...value.keys()]);
  if (typeof value === "string") {
    meter.make(16 * value.length);
    return Array.from(value);
  }
  throw templateError(`${typeName(value)} is not iterable`);
}

export function lengthOf(value: Value): number {
  if (typeof value === "string") return hasPairs(value) ? Array.from(value).length : value.length;
  if (isList(value)) return value.length;
  if (value instanceof Tuple) return value.items.length;
  if (isDict(value)) return value.size;
  if (value instanceof Undefined) return 0;
  throw templateError(`${typeName(value)} has no length`);
}

/** Whether some character takes two UTF-16 units, so that Python counts otherwise. */
export function hasPairs(text: string): boolean {
  return /[\ud800-\udbff]/.test(text);
}

export function equal(a: Value, b: Value, meter: Meter, depth = 0): boolean {
  meter.step();
  if (depth > 64) throw templateError("compares values that are nested too deeply");
  const [left, right] = [numberOf(a), numberOf(b)];
  if (left !== null || right !== null) return left === right;
  if (typeof a === "string" || typeof b === "string") {
    if (typeof a !== typeof b) return false;
    meter.spend(Math.min((a as string).length, (b as string).length));
    return a === b;
  }
  if (a instanceof Undefined) return b instanceof Undefined;
  if (a instanceof Tuple && b instanceof Tuple) return equalLists(a.items, b.items, meter, depth);
  if (isList(a) && isList(b)) return equalLists(a, b, meter, depth);
  if (a !== null && b !== null && isDict(a) && isDict(b)) {
    if (a.size !== b.size) return false;
    for (const [key, value] of a) {
      const other = b.get(key);
      if (other === undefined || !equal(value, other, meter, depth + 1)) return false;
    }
    return true;
  }
  return a === b;
}

function equalLists(a: readonly Value[], b: readonly Value[], meter: Meter, depth: number): boolean {
  if (a.length !== b.length) return false;
  for (const [index, item] of a.entries()) if (!equal(item, b[index] ?? null, meter, depth + 1)) return false;
  return true;
}

/** Negative, zero or positive, as Python orders numbers, texts and lists. */
export function compare(a: Value, b: Value, meter: Meter, depth = 0): number {
  meter.step();
  const [left, right] = [numberOf(a), numberOf(b)];
  if (left !== null && right !== null) return left - right;
  if (typeof a === "string" && typeof b === "string") {
    meter.spend(Math.min(a.length, b.length));
    return compareTexts(a, b);
  }
  const [x, y] = [a instanceof Tuple ? a.items : a, b instanceof Tuple ? b.items : b];
  if (isList(x) && isList(y) && typeName(a) === typeName(b) && depth < 16) {
    for (let i = 0; i < Math.min(x.length, y.length); i++) {
      const order = compare(x[i] ?? null, y[i] ?? null, meter, depth + 1);
      if (order !== 0) return order;
    }
    return x.length - y.length;
  }
  throw templateError(`cannot order ${typeName(a)} and ${typeName(b)}`);
}

/** By code point, where JavaScript orders by UTF-16 unit. */
function compareTexts(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a[i] === b[i]) continue;
    return (a.codePointAt(i) ?? 0) - (b.codePointAt(i) ?? 0);
  }
  return a.length - b.length;
}

/** As Python's `str`. */
export function printed(value: Value, meter: Meter): string {
  if (typeof value === "string") return value;
  if (value instanceof Undefined) return "";
  return represented(value, meter);
}

/** As Python's `repr`. */
export function represented(value: Value, meter: Meter): string {
  const out: string[] = [];
  const state = { length: 0 };
  const write = (text: string) => {
    state.length += text.length + 1;
    meter.make(text.length + 1);
    if (state.length > meter.longest) throw templateError(`a value grew past ${meter.longest} characters`);
    out.push(text);
  };
  writeValue(value, write, 0);
  return out.join("");
}

function writeValue(value: Value, write: (text: string) => void, depth: number): void {
  if (depth > 64) throw templateError("a value is nested more than 64 levels deep");
  const list = (open: string, items: readonly Value[], close: string) => {
    write(open);
    for (const [index, item] of items.entries()) {
      if (index > 0) write(", ");
      writeValue(item, write, depth + 1);
    }
    write(close);
  };
  if (value === null) write("None");
  else if (typeof value === "boolean") write(value ? "True" : "False");
  else if (typeof value === "number") write(String(value));
  else if (typeof value === "string") write(quoted(value));
  else if (value instanceof Float) write(floatText(value.value));
  else if (value instanceof Undefined) write("Undefined");
  else if (value instanceof Tuple) list("(", value.items, value.items.length === 1 ? ",)" : ")");
  else if (isList(value)) list("[", value, "]");
  else if (isDict(value) || value instanceof Namespace) {
    write(value instanceof Namespace ? "<Namespace {" : "{");
    let isFirst = true;
    for (const [key, item] of value instanceof Namespace ? value.fields : value) {
      if (!isFirst) write(", ");
      isFirst = false;
      writeValue(key, write, depth + 1);
      write(": ");
      writeValue(item, write, depth + 1);
    }
    write(value instanceof Namespace ? "}>" : "}");
  } else throw templateError(`prints the function ${value.name}`);
}

const escapes: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(/[\\\p{C}\p{Zl}\p{Zp}\p{Zs}]/gu, (character) => {
    if (character === " ") return character;
    const known = escapes[character];
    if (known !== undefined) return known;
    const code = character.codePointAt(0) ?? 0;
    const [letter, width] = code < 256 ? ["x", 2] : code < 65536 ? ["u", 4] : ["U", 8];
    return `\\${letter}${code.toString(16).padStart(width as number, "0")}`;
  });
  return `${quote}${quote === "'" ? body.replaceAll("'", "\\'") : body}${quote}`;
}

export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const [digits = "", exponent] = value.toExponential().split("e");
  const power = Number(exponent);
  if (value !== 0 && (power < -4 || power >= 16))
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  const text =
    power < 0 ? value.toFixed(Math.max(0, digits.replace(/[-.]/g, "").length - 1 - power)) : String(value);
  return text.includes(".") ? text : `${text}.0`;
}

/** A JSON value as a template's value. */
export function fromJson(json: unknown): Value {
  if (Array.isArray(json)) return json.map(fromJson);
  if (typeof json === "object" && json !== null)
    return new Map(Object.entries(json).map(([key, value]) => [key, fromJson(value)]));
  if (typeof json === "number" && !Number.isSafeInteger(json)) return new Float(json);
  return json as string | number | boolean | null;
}
