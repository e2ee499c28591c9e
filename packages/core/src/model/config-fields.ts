/**
 * Reads the numbers of a configuration under the names that its file gives them, checks their ranges and collects every problem.
 * Knows no architecture.
 */

/** Far beyond any model, and small enough that no product of two of them overflows. The context: where angles stay exact. */
export const limits = {
  hiddenSize: 2 ** 20,
  ffnSize: 2 ** 21,
  nLayers: 4096,
  nHeads: 4096,
  headDim: 4096,
  contextLength: 2 ** 20,
  vocabSize: 2 ** 21,
} as const;

interface Range {
  isValid(value: number): boolean;
  text: string;
}

export const epsRange: Range = { isValid: (eps) => eps > 0 && eps < 1, text: "a number between 0 and 1" };
export const thetaRange: Range = {
  isValid: (theta) => theta > 1 && theta < 1e12,
  text: "a number between 1 and 10^12",
};

/** Reads numbers under the names of the file and collects what is wrong with them; a faulty one is NaN. */
export class FieldReader {
  readonly problems: string[];
  private readonly find: (name: string) => unknown;
  private readonly label: (name: string) => string;

  constructor(
    find: (name: string) => unknown,
    label: (name: string) => string = (name) => name,
    problems: string[] = [],
  ) {
    this.find = find;
    this.label = label;
    this.problems = problems;
  }

  number(name: string, { isValid, text }: Range, fallback?: number): number {
    const value = this.find(name);
    if (value === undefined && fallback !== undefined) return fallback;
    const number = typeof value === "bigint" ? Number(value) : value;
    if (typeof number === "number" && isValid(number)) return number;
    const label = this.label(name);
    this.problems.push(
      value === undefined ? `${label} is missing` : `${label} is ${show(value)}, expected ${text}`,
    );
    return Number.NaN;
  }

  /** An integer from 1 to `limit`. */
  integer(name: string, limit: number, fallback?: number): number {
    return this.number(name, countRange(limit), fallback);
  }

  /** A count that comes from elsewhere; NaN has been listed. */
  checked(value: number, what: string, limit: number): number {
    const { isValid, text } = countRange(limit);
    if (!Number.isNaN(value) && !isValid(value)) this.problems.push(`${what}: ${value}, expected ${text}`);
    return value;
  }

  /** The head dimension where the file gives it, else the usual one of the family, else what the heads divide the hidden size into. */
  headDim(name: string, hiddenSize: number, nHeads: number, usual?: number): number {
    if (this.find(name) !== undefined) return this.integer(name, limits.headDim);
    if (usual !== undefined) return usual;
    if (hiddenSize % nHeads > 0) {
      this.problems.push(
        `${this.label(name)} is missing, and ${nHeads} heads do not divide a hidden size of ${hiddenSize}`,
      );
      return Number.NaN;
    }
    return this.checked(hiddenSize / nHeads, "head dimension", limits.headDim);
  }
}

function countRange(limit: number): Range {
  return {
    isValid: (value) => Number.isInteger(value) && value >= 1 && value <= limit,
    text: `an integer from 1 to ${limit}`,
  };
}

/** A value for messages, however large, deep or strange it is. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
