/**
 * What the machine could do if it did nothing else, measured in the same run as what is compared with it: a bare read of memory, and a bare
 * loop of the multiply instruction that a kernel lives on.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { buildKernelTool } from "@bitnet.ts/native/build/kernel-program";
import { measureReadBandwidth } from "bitnet.ts";
import type { Roofline } from "./result.ts";

type Measure = () => Promise<Roofline | null>;

export class Rooflines {
  readonly #known = new Map<string, { measure: Measure; best: Roofline | null }>();

  /** All that has been asked for, in that order. */
  get all(): Roofline[] {
    return [...this.#known.values()].flatMap(({ best }) => (best === null ? [] : [best]));
  }

  /** Bytes per second that `threads` threads read together; null without the native backend. */
  read(threads: number): Promise<number | null> {
    return this.#best(`read ${threads}`, async () => {
      const value = await measureReadBandwidth(threads);
      return value === null || value === 0 ? null : { name: "bare read", value, unit: "B/s", threads };
    });
  }

  /** Multiply-adds per second that `threads` threads do together; null where there is no such loop, or no compiler to build it. */
  multiply(isa: string, threads: number): Promise<number | null> {
    return this.#best(`multiply ${isa} ${threads}`, async () => {
      const program = await buildKernelTool("bare-loops");
      if (program === null) return null;
      const speeds = await Promise.all(Array.from({ length: threads }, () => bareMultiply(program, isa)));
      const value = speeds.reduce((sum, speed) => sum + speed, 0);
      return value === 0 ? null : { name: `bare ${isa} multiply`, value, unit: "MAC/s", threads };
    });
  }

  /** Measures again what has been asked for, and keeps the best: a roofline is what the machine can do, not what it did once. */
  async refresh(): Promise<void> {
    for (const entry of this.#known.values()) {
      const again = entry.best === null ? null : await entry.measure();
      if (again !== null && again.value > (entry.best?.value ?? 0)) entry.best = again;
    }
  }

  async #best(key: string, measure: Measure): Promise<number | null> {
    let entry = this.#known.get(key);
    if (entry === undefined) {
      entry = { measure, best: await measure() };
      this.#known.set(key, entry);
    }
    return entry.best?.value ?? null;
  }
}

/** One core's multiply-adds per second; 0 where the program has no loop for the instruction set. */
async function bareMultiply(program: string, isa: string): Promise<number> {
  const text = await outputOf(program, [isa]);
  return Number(/bare multiply loop:\s+([\d.]+) GMAC\/s/.exec(text)?.[1] ?? 0) * 1e9;
}

/** Standard output, whatever the exit status; the program's complaints go to standard error. */
export async function outputOf(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (piece: string) => {
    text += piece;
  });
  await once(child, "close");
  return text;
}
