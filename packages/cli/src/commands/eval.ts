/** `bitnet eval`: scores of a model on benchmarks and tasks of one's own, or its perplexity on a text. */
import { createHash } from "node:crypto";
import { setMaxListeners } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import type { EvalModel, Task, TaskResult } from "@bitnet.ts/eval";
import type { BitNet } from "bitnet.ts";
import type { Command } from "commander";
import { formatTable } from "../format.ts";
import { loadModel } from "../load-model.ts";
import { addModelOptions, jsonOption, type ModelFlags, option } from "../options.ts";
import { withPullStatus } from "../pull-model.ts";
import { readSmallFile } from "../read-small-file.ts";
import type { Session } from "../session.ts";
import { startProgress } from "../terminal.ts";
import { collect, parseInteger, parsePositive } from "../values.ts";

interface EvalFlags extends ModelFlags {
  task?: readonly string[];
  data?: string;
  limit?: number;
  shots?: number;
  chat: "on" | "off";
  bos?: "on" | "off";
  allowCodeExecution?: boolean;
  samples?: number;
  temperature: number;
  perplexity?: string;
  perplexityMode: "rolling" | "chunks";
  endpoint?: string;
  endpointModel?: string;
  output?: string;
  concurrency: number;
  json?: boolean;
}

export function registerEval(program: Command, session: Session): void {
  const command = program
    .command("eval")
    .description(
      "score a model on benchmarks (ARC, BoolQ, WinoGrande, HellaSwag, MMLU, GSM8K, MATH-500, HumanEval) and tasks of one's own",
    )
    .addOption(option("--task <name>", "task, or a .jsonl file of one's own; repeatable").argParser(collect))
    .addOption(
      option(
        "--data <folder>",
        "folder with the tasks' files (default: the datasets of the Hugging Face Hub)",
      ),
    )
    .addOption(option("--limit <n>", "the first n items of every task").argParser(parseInteger(1)))
    .addOption(
      option("--shots <n>", "examples shown (default: the task's own)").argParser(parseInteger(0, 64)),
    )
    .addOption(
      option("--chat <switch>", "ask generative tasks in chat form").choices(["on", "off"]).default("on"),
    )
    .addOption(
      option(
        "--bos <switch>",
        "begin contexts with the beginning-of-text token (default: what the tokenizer wants)",
      ).choices(["on", "off"]),
    )
    .addOption(
      option(
        "--allow-code-execution",
        "run programs that the model writes, in a process of their own with limits",
      ),
    )
    .addOption(
      option(
        "--samples <n>",
        "of tasks with programs: draw n answers an item, and score pass@k for k up to n (default: one greedy answer)",
      ).argParser(parseInteger(1, 1000)),
    )
    .addOption(option("--temperature <x>", "of --samples").argParser(parsePositive).default(0.8))
    .addOption(option("--perplexity <file>", "perplexity on this text, in place of tasks"))
    .addOption(
      option("--perplexity-mode <mode>", "rolling: every token once; chunks: as llama.cpp")
        .choices(["rolling", "chunks"])
        .default("rolling"),
    )
    .addOption(
      option(
        "--endpoint <url>",
        "a model behind an OpenAI-compatible endpoint, such as http://127.0.0.1:8080/v1",
      ),
    )
    .addOption(option("--endpoint-model <name>", "its name there").default("default"))
    .addOption(
      option(
        "-o, --output <folder>",
        "gets results.json, results.md, results.svg and the finished items, with which a stopped run goes on",
      ),
    )
    .addOption(option("--concurrency <n>", "items at a time").argParser(parseInteger(1, 256)).default(4))
    .addOption(jsonOption("the results, in the form of lm-evaluation-harness,"));
  addModelOptions(command).action((flags: EvalFlags) => evaluate(flags, session));
}

type Library = typeof import("@bitnet.ts/eval");

async function evaluate(flags: EvalFlags, session: Session): Promise<void> {
  const library = await import("@bitnet.ts/eval");
  const names = flags.task ?? [];
  if ((names.length === 0) === (flags.perplexity === undefined))
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `give either --perplexity FILE or --task NAME; tasks: ${library.taskNames.join(", ")}`,
    );
  const options = {
    folder: flags.data ?? null,
    chat: flags.chat === "on",
    allowsCode: flags.allowCodeExecution === true,
    ...(flags.shots === undefined ? {} : { shots: flags.shots }),
    ...(flags.samples === undefined
      ? {}
      : { draws: { count: flags.samples, temperature: flags.temperature } }),
  };
  const tasks: Task[] = [];
  for (const name of names)
    tasks.push(await withPullStatus(session, (hub) => library.loadTask(name, { ...options, hub })));
  setMaxListeners(0, session.signal); // every choice of every item under way listens
  const loaded = flags.endpoint === undefined ? await loadModel(flags, session) : null;
  try {
    const model = chooseModel(library, loaded, flags, session);
    if (flags.perplexity !== undefined)
      return await perplexity(library, model, flags.perplexity, flags, session);
    if (flags.output !== undefined) makeFolder(flags.output);
    const results: TaskResult[] = [];
    for (const task of tasks) {
      const progress = startProgress(task.name);
      try {
        const itemsPath =
          flags.output === undefined
            ? {}
            : { itemsPath: join(flags.output, `items-${fileName(task.name)}.jsonl`) };
        const run = {
          concurrency: flags.concurrency,
          signal: session.signal,
          ...(flags.limit === undefined ? {} : { limit: flags.limit }),
        };
        results.push(
          await library.runTask(model, task, {
            ...run,
            ...itemsPath,
            onProgress: (done, total) => progress.update(done / total),
          }),
        );
      } finally {
        progress.end();
      }
    }
    await report(library, model, results, flags, session);
  } finally {
    await loaded?.dispose();
  }
}

function chooseModel(
  library: Library,
  loaded: BitNet | null,
  flags: EvalFlags,
  { signal }: Session,
): EvalModel {
  if (loaded !== null)
    return library.localModel(loaded, {
      signal,
      ...(flags.bos === undefined ? {} : { bos: flags.bos === "on" }),
    });
  const key = process.env.OPENAI_API_KEY;
  const apiKey = key === undefined || key === "" ? {} : { apiKey: key };
  return library.endpointModel({
    url: flags.endpoint ?? "",
    model: flags.endpointModel ?? "default",
    signal,
    ...apiKey,
  });
}

async function report(
  library: Library,
  model: EvalModel,
  results: readonly TaskResult[],
  flags: EvalFlags,
  session: Session,
): Promise<void> {
  const json = library.harnessJson(model, results, new Date());
  if (flags.output !== undefined) {
    writeFileSync(join(flags.output, "results.json"), `${JSON.stringify(json, null, 2)}\n`);
    writeFileSync(join(flags.output, "results.md"), library.markdownTable(results));
    writeFileSync(join(flags.output, "results.svg"), library.barsSvg(results, model.name));
  }
  await session.write(flags.json ? `${JSON.stringify(json)}\n` : library.markdownTable(results));
}

async function perplexity(
  library: Library,
  model: EvalModel,
  path: string,
  flags: EvalFlags,
  session: Session,
): Promise<void> {
  const text = readSmallFile(path);
  const found = await library.perplexityReport(model, text, flags.perplexityMode);
  const show = (value: number | null) => (value === null ? "–" : value.toFixed(4));
  const rows = [
    ["mode", found.mode],
    ["tokens scored", String(found.nTokens)],
    ["perplexity per token", show(found.tokenPerplexity)],
    ["loss per token (nats)", show(Math.log(found.tokenPerplexity))],
    ["perplexity per word", show(found.wordPerplexity)],
    ["perplexity per byte", show(found.bytePerplexity)],
    ["bits per byte", show(found.bitsPerByte)],
  ];
  await session.write(flags.json ? `${JSON.stringify(found)}\n` : `${formatTable(rows)}\n`);
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new BitNetError("IO_FAILED", `${folder}: cannot be made (${(cause as Error).message})`, { cause });
  }
}

/** Names of own tasks come from files: what is odd in them does not reach a path. */
function fileName(name: string): string {
  if (/^[\w-]{1,64}$/.test(name)) return name;
  return createHash("sha256").update(name).digest("hex").slice(0, 16);
}
