/**
 * `bitnet doctor`: the machine, the backends with the verdict on every kernel variant, and a proof that the embedded model gives the
 * same tokens on the backend in use and on the reference; with --bench one line of JSON with its speed. Exit status 1 when something is broken.
 */
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { describePlan, type ProfileName } from "@bitnet.ts/server";
import { type BackendReport, BitNet, backendReport, embeddedModelPath } from "bitnet.ts";
import { type Command, Option } from "commander";
import { formatBytes, formatMs, formatTable, plural } from "../format.ts";
import { modelSource } from "../load-model.ts";
import { jsonOption } from "../options.ts";
import { planFor, profileOption } from "../profile.ts";
import type { Session } from "../session.ts";
import { benchMachine } from "./doctor-bench.ts";
import { addEngineOptions, checkEngineFlags, type EngineFlags, examineEngines } from "./doctor-engines.ts";

interface ModelCheck {
  path: string | null;
  backend: string | null;
  isa: string | null;
  /** The greedy continuation. */
  text: string | null;
  loadMs: number | null;
  /** From the request to its last token. */
  responseMs: number | null;
  /** Whether the backend in use and the reference agree on every token; null when only the reference runs. */
  equalsReference: boolean | null;
}

interface DoctorReport {
  node: string;
  platform: string;
  cpu: string;
  coresAvailable: number;
  memory: { totalBytes: number; freeBytes: number };
  backends: readonly BackendReport[];
  embeddedModel: ModelCheck;
  warnings: string[];
  problems: string[];
  ok: boolean;
}

interface DoctorFlags {
  json?: boolean;
  bench?: boolean;
  profile?: ProfileName;
  model?: string;
}

const prompt = "The people of the United States";
const checkTokens = 10;

export function registerDoctor(program: Command, session: Session): void {
  const command = program
    .command("doctor")
    .description("check this machine and installation")
    .addOption(jsonOption("the report"))
    .addOption(
      new Option("--bench", "print one line of JSON about this machine and its speed").conflicts([
        "engines",
        "profile",
      ]),
    )
    .addOption(profileOption());
  addEngineOptions(command);
  command.action(async (flags: DoctorFlags & EngineFlags) => {
    checkEngineFlags(flags, command);
    await (flags.engines ? examineEngines(flags, session) : doctor(flags, session));
  });
}

async function doctor(flags: DoctorFlags, session: Session): Promise<void> {
  if (flags.bench) return benchMachine(session);
  if (flags.profile !== undefined) return showProfile(flags.profile, flags, session);
  const report = await examine(session);
  await session.write(`${flags.json ? JSON.stringify(report, null, 2) : describe(report)}\n`);
  if (!report.ok) session.fail();
}

/** What `serve --profile` would run with. */
async function showProfile(name: ProfileName, { json, model }: DoctorFlags, session: Session): Promise<void> {
  const source = modelSource(model === undefined ? {} : { model });
  const plan = await planFor(name, source, {
    kv: "f16",
    screening: "on",
    i2sLayout: "128/32",
    activations: "int8",
  });
  await session.write(`${json ? JSON.stringify(plan, null, 2) : describePlan(plan)}\n`);
}

async function examine(session: Session): Promise<DoctorReport> {
  const warnings: string[] = [];
  const problems: string[] = [];
  for (const name of ["BITNET_BACKEND", "BITNET_ISA"]) {
    const value = process.env[name];
    if (value !== undefined && value !== "") warnings.push(`${name}=${value} forces the choice`);
  }
  const backends = await backendReport();
  const isThere = (wanted: string) =>
    backends.some(({ name, isAvailable }) => name === wanted && isAvailable);
  if (!isThere("native"))
    warnings.push(
      isThere("wasm")
        ? "no native backend: WebAssembly serves, which is slower"
        : "no native backend: the reference is correct but slow",
    );
  const embeddedModel = await checkModel(session, { warnings, problems });
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model ?? "unknown",
    coresAvailable: availableParallelism(),
    memory: { totalBytes: totalmem(), freeBytes: freemem() },
    backends,
    embeddedModel,
    warnings,
    problems,
    ok: problems.length === 0,
  };
}

interface Findings {
  warnings: string[];
  problems: string[];
}

async function checkModel(session: Session, { warnings, problems }: Findings): Promise<ModelCheck> {
  const check: ModelCheck = {
    ...{ path: null, backend: null, isa: null, text: null },
    ...{ loadMs: null, responseMs: null, equalsReference: null },
  };
  try {
    const path = embeddedModelPath();
    check.path = path;
    const onNotice = (line: string) => warnings.push(line.replace(/^bitnet: /, ""));
    const own = await generate(path, { onNotice, signal: session.signal });
    Object.assign(check, own.facts);
    if (own.facts.backend !== "reference") {
      const reference = await generate(path, { backend: "reference", signal: session.signal });
      check.equalsReference = String(own.ids) === String(reference.ids);
      if (!check.equalsReference)
        problems.push(
          `${own.facts.backend}/${own.facts.isa} gives ids ${own.ids}, the reference ${reference.ids}`,
        );
    }
  } catch (error) {
    if (session.signal.aborted) throw error;
    problems.push(error instanceof Error ? error.message : String(error));
  }
  return check;
}

async function generate(path: string, options: Parameters<typeof BitNet.load>[1] & { signal: AbortSignal }) {
  const model = await BitNet.load(path, options);
  try {
    const start = performance.now();
    const { ids, text } = await model.generate(prompt, {
      maxTokens: checkTokens,
      temperature: 0,
      repeatPenalty: 1,
      ignoreEos: true,
      signal: options.signal,
    }).result;
    const { backend, isa, loadMs } = model.info;
    return { ids, facts: { backend, isa, text, loadMs, responseMs: performance.now() - start } };
  } finally {
    await model.dispose();
  }
}

function describe(report: DoctorReport): string {
  const { embeddedModel: check, memory } = report;
  const isEqual = { true: ", equal to the reference", false: ", DIFFERENT from the reference", null: "" };
  const lines = [
    formatTable([
      ["Node", report.node],
      ["Platform", report.platform],
      ["CPU", report.cpu],
      ["Cores available", String(report.coresAvailable)],
      ["Memory", `${formatBytes(memory.totalBytes)}, ${formatBytes(memory.freeBytes)} free`],
      ...report.backends.flatMap(backendRows),
      ["Embedded model", check.path ?? "missing"],
      ...(check.text === null
        ? []
        : [
            [
              "Check",
              `${checkTokens} tokens on ${check.backend}/${check.isa} in ${formatMs(check.responseMs ?? 0)}` +
                `, loaded in ${formatMs(check.loadMs ?? 0)}${isEqual[`${check.equalsReference}`]}`,
            ],
          ]),
    ]),
    ...report.warnings.map((warning) => `warning: ${warning}`),
    ...report.problems.map((problem) => `PROBLEM: ${problem}`),
    report.ok ? "Everything works." : "Something is broken.",
  ];
  return lines.join("\n");
}

function backendRows({ name, isAvailable, detail, threads, variants }: BackendReport): string[][] {
  const about = isAvailable ? `${detail}, ${plural(threads, "thread")}` : `not available: ${detail}`;
  return [
    [`Backend ${name}`, about],
    ...variants.map(({ isa, verdict, reason }) => [
      `  ${isa}`,
      reason === "" ? verdict : `${verdict}: ${reason}`,
    ]),
  ];
}
