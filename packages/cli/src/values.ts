/** Parsers of option values: strict, so that `--temp 0,7` or `-n 10x` is an error instead of something else. */
import { InvalidArgumentError } from "commander";

const number = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i;

type Parser = (text: string) => number;

function parse(text: string, expected: string, isValid: (value: number) => boolean): number {
  const value = number.test(text.trim()) ? Number(text) : Number.NaN;
  if (Number.isFinite(value) && isValid(value)) return value;
  throw new InvalidArgumentError(`Expected ${expected}.`);
}

export function parseInteger(lowest: number, highest = Number.MAX_SAFE_INTEGER): Parser {
  const range = highest === Number.MAX_SAFE_INTEGER ? `from ${lowest} up` : `from ${lowest} to ${highest}`;
  return (text) =>
    parse(text, `an integer ${range}`, (x) => Number.isInteger(x) && x >= lowest && x <= highest);
}

/** Bytes: a number, or one with a unit: "512M" is 512 MiB. */
export function parseBytes(text: string): number {
  const [, amount, unit = ""] = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim()) ?? [];
  const bytes = Number(amount) * 1024 ** (1 + "kmgt".indexOf(unit.toLowerCase()));
  const value = unit === "" ? Number(amount) : bytes;
  if (amount !== undefined && Number.isSafeInteger(Math.floor(value))) return Math.floor(value);
  throw new InvalidArgumentError("Expected bytes, such as 536870912, 512M or 2G.");
}

/** Any finite number. */
export function parseNumber(text: string): number {
  return parse(text, "a number", () => true);
}

/** [lowest, ∞) */
export function parseNumberFrom(lowest: number): Parser {
  return (text) => parse(text, `a number from ${lowest} up`, (x) => x >= lowest);
}

/** (0, ∞) */
export function parsePositive(text: string): number {
  return parse(text, "a number above 0", (x) => x > 0);
}

/** (0, 1] */
export function parseShare(text: string): number {
  return parse(text, "a number above 0 and at most 1", (x) => x > 0 && x <= 1);
}

/** [0, 1] */
export function parseFraction(text: string): number {
  return parse(text, "a number from 0 to 1", (x) => x >= 0 && x <= 1);
}

/** Collects a repeatable option; commander calls it once per occurrence. */
export function collect(text: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), text];
}

/** `ID=VALUE`, several separated by commas; `-inf` forbids a token. */
export function parseLogitBias(
  text: string,
  previous: ReadonlyMap<number, number> | undefined,
): Map<number, number> {
  const biases = new Map(previous);
  for (const entry of text.split(",")) {
    const [, id, value = ""] = /^\s*(\d+)\s*[=:]\s*(\S+)\s*$/.exec(entry) ?? [];
    const isForbidden = /^-inf(inity)?$/i.test(value);
    if (id === undefined || !(isForbidden || number.test(value)))
      throw new InvalidArgumentError(
        "Expected ID=VALUE, for instance 15=-1.5, or 15=-inf to forbid a token.",
      );
    biases.set(Number(id), isForbidden ? Number.NEGATIVE_INFINITY : Number(value));
  }
  return biases;
}
