/**
 * What the machine could do if it did nothing else, measured in the same run as what is compared with it: a bare read of memory, and a bare
 * loop of the multiply instruction that a kernel lives on.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { median } from "@bitnet.ts/cli/measuring";
import { buildKernelTool } from "@bitnet.ts/native/build/kernel-program";
import { measureReadBandwidth } from "bitnet.ts";
import type { Roofline } from "./result.ts";

interface Entry {
  name: string;
  unit: Roofline["unit"];
  threads: number;
  measure: () => Promise<number>;
  /** One value a round; empty where it cannot be measured. */
  values: number[];
}

export class Rooflines {
  readonly #entries = new Map<string, Entry>();

  /** All that has been asked for, in that order. */
  get all(): Roofline[] {
    return [...this.#entries.values()]
      .filter(({ values }) => values.length > 0)
      .map(({ name, unit, threads, values }) => ({
        ...{ name, unit, threads },
        value: median(values),
        best: Math.max(...values),
      }));
  }

  /** Bytes per second that `threads` threads read together; null without the native backend. */
  read(threads: number): Promise<number | null> {
    const measure = async () => (await measureReadBandwidth(threads)) ?? 0;
    return this.#value({ name: "bare read", unit: "B/s", threads, measure, values: [] });
  }

  /** int8 multiply-adds per second that `threads` threads do together; null where there is no such loop, or no compiler to build it. */
  multiply(isa: string, threads: number): Promise<number | null> {
    return this.#loop(`bare ${isa} multiply`, /bare multiply loop:\s+([\d.]+) GMAC\/s/, isa, threads);
  }

  /** The same of f32, the multiply-adds of attention. */
  multiplyFloats(isa: string, threads: number): Promise<number | null> {
    return this.#loop(`bare f32 fma with ${isa}`, /bare f32 fma loop:\s+([\d.]+) GFMA\/s/, isa, threads);
  }

  #loop(name: string, line: RegExp, isa: string, threads: number): Promise<number | null> {
    const measure = async () => {
      const program = await buildKernelTool("bare-loops");
      if (program === null) return 0;
      const texts = await Promise.all(Array.from({ length: threads }, () => outputOf(program, [isa])));
      return texts.reduce((sum, text) => sum + Number(line.exec(text)?.[1] ?? 0) * 1e9, 0);
    };
    return this.#value({ name, unit: "MAC/s", threads, measure, values: [] });
  }

  /** Measures once more what has been asked for. */
  async refresh(): Promise<void> {
    for (const { measure, values } of this.#entries.values())
      if (values.length > 0) values.push(await measure());
  }

  /** The median of all rounds until now. */
  async #value(asked: Entry): Promise<number | null> {
    const key = `${asked.name} ${asked.threads}`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = asked;
      this.#entries.set(key, entry);
      const first = await entry.measure();
      if (first > 0) entry.values.push(first);
    }
    return entry.values.length === 0 ? null : median(entry.values);
  }
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
