/** Runs one bench: options, machine, progress, the report on standard output and, when asked for, as JSON. */
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname } from "node:path";
import type { Isa } from "@bitnet.ts/core";
import { BitNet, type BitNetLoadOptions, backendReport } from "bitnet.ts";
import { benches } from "../benches.ts";
import { describeMachine, type Machine } from "./machine.ts";
import { ensureDummy, tinyModel } from "./models.ts";
import { type BenchOptions, parseOptions, usage } from "./options.ts";
import { reportText } from "./report.ts";
import type { BenchBody, BenchResult } from "./result.ts";
import { Rooflines } from "./rooflines.ts";
import { type Case, type Sampled, sampleInTurn } from "./sampling.ts";

/** What a bench works with. */
export interface BenchContext {
  options: BenchOptions;
  machine: Machine;
  rooflines: Rooflines;
  /** Instruction sets to measure, best first. */
  isas: readonly Isa[];
  /** The best one. */
  isa: Isa;
  threads: number;
  /** Path of the model that the options ask for. */
  model(): string;
  load(path: string, options?: BitNetLoadOptions): Promise<BitNet>;
  /** Takes samples in turn, the rooflines that have been asked for until then among them. */
  sample<S>(cases: readonly Case<S>[], repetitions: number, pids?: readonly number[]): Promise<Sampled<S>>;
  say(line: string): void;
}

/** Runs the bench of this name in this process, whose exit status says whether it could run, not how fast it was. */
export async function runBench(
  name: string,
  run: (context: BenchContext) => Promise<BenchBody>,
): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes("--help")) {
    console.log(`${questionOf(name)}\n\n${usage}`);
    return;
  }
  try {
    const context = await makeContext(parseOptions(args));
    const body = await run(context);
    const result: BenchResult = {
      bench: name,
      question: questionOf(name),
      date: new Date().toISOString(),
      command: ["npm run bench --", name, ...withoutJson(args)].join(" "),
      quick: context.options.isQuick,
      machine: context.machine,
      ...body,
      models: body.models.map((path) => basename(path)),
    };
    console.log(reportText(result));
    if (context.options.json !== null) writeJson(context.options.json, result);
  } catch (error) {
    console.error(`bench ${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

/** Where a result was written to does not matter to who repeats it. */
function withoutJson(args: readonly string[]): string[] {
  return args.filter((arg, i) => !arg.startsWith("--json") && args[i - 1] !== "--json");
}

function questionOf(name: string): string {
  return benches.find((bench) => bench.name === name)?.question ?? name;
}

function writeJson(path: string, result: BenchResult): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
}

async function makeContext(options: BenchOptions): Promise<BenchContext> {
  const native = (await backendReport()).find((report) => report.name === "native");
  if (native === undefined || !native.isAvailable)
    throw new Error(`the native backend is needed (${native?.detail ?? "absent"})`);
  const usable = native.variants.filter(({ verdict }) => verdict !== "rejected").map(({ isa }) => isa as Isa);
  const unknown = options.isas?.find((isa) => !usable.some((each) => each === isa));
  if (unknown !== undefined) throw new Error(`--isa: ${unknown} does not work here; ${usable.join(", ")} do`);
  const isas = usable.filter((isa) => options.isas?.includes(isa) ?? true);
  const rooflines = new Rooflines();
  const say = (line: string) => {
    process.stderr.write(`${line}\n`);
  };
  return {
    options,
    machine: describeMachine(usable),
    rooflines,
    isas,
    isa: isas[0] ?? "scalar",
    threads: Math.min(options.threads ?? native.threads, availableParallelism()),
    model: () => options.model ?? modelOf(options),
    load: (path, loadOptions = {}) => BitNet.load(path, { onNotice: say, backend: "native", ...loadOptions }),
    sample: (cases, repetitions, pids = []) =>
      sampleInTurn(cases, {
        repetitions: options.repetitions ?? (options.isQuick ? 1 : repetitions),
        attempts: options.isQuick ? 1 : 3,
        pids,
        betweenRounds: () => rooflines.refresh(),
        onProgress: showProgress,
      }),
    say,
  };
}

function modelOf({ isQuick, shape }: BenchOptions): string {
  return isQuick || shape === "tiny" ? tinyModel : ensureDummy({ shape });
}

/** One line on a terminal, rewritten in place; nothing elsewhere. */
function showProgress(fraction: number, name: string): void {
  if (!process.stderr.isTTY) return;
  const line = fraction < 1 ? `${Math.round(100 * fraction)} % ${name}` : "";
  process.stderr.write(`\r\u001b[2K${line}`);
}
