/** `bitnet run`: one prompt, one answer, as text or as one JSON object. */
import { BitNetError } from "@bitnet.ts/core";
import type { BitNet, GenerateOptions, Generation } from "bitnet.ts";
import type { Command } from "commander";
import { formatMs } from "../format.ts";
import { loadModel } from "../load-model.ts";
import {
  addModelOptions,
  addSamplingOptions,
  jsonOption,
  type ModelFlags,
  option,
  type SamplingFlags,
  samplingOptions,
} from "../options.ts";
import { readStandardInput, readTextFile } from "../read-input.ts";
import { resultLine, resultObject } from "../result.ts";
import type { Session } from "../session.ts";
import { parseInteger, parsePositive } from "../values.ts";

interface RunFlags extends ModelFlags, SamplingFlags {
  prompt?: string;
  file?: string;
  systemPrompt?: string;
  json?: boolean;
  logprobs?: number;
  promptLogprobs?: boolean;
  timeout?: number;
}

/** As of timeout(1). */
const timeoutStatus = 124;
const longestTimeoutSeconds = 2_000_000; // what timers of 32 bits can hold

export function registerRun(program: Command, session: Session): void {
  const command = program
    .command("run")
    .description("continue a prompt, or answer it when a system prompt is given")
    .argument("[model]", "the same as -m; beside -m, the only argument is the prompt")
    .argument("[prompt]", "the same as -p")
    .addOption(option("-p, --prompt <text>", "the prompt (default: standard input); may be empty"))
    .addOption(option("-f, --file <path>", "read the prompt from a file"))
    .addOption(
      option(
        "--sys, --system-prompt <text>",
        "(also -sys) apply the model's chat template with this system message; empty: without one",
      ),
    );
  addModelOptions(command);
  addSamplingOptions(command)
    .addOption(jsonOption("the result"))
    .addOption(
      option("--logprobs <k>", "with --json: log-probability of every token and of the k best").argParser(
        parseInteger(0, 256),
      ),
    )
    .addOption(option("--prompt-logprobs", "with --json: log-probability of every prompt token"))
    .addOption(
      option("--timeout <seconds>", "stop after this time, loading included").argParser(parseTimeout),
    )
    .action((first: string | undefined, second: string | undefined, flags: RunFlags) => {
      const isPrompt = second === undefined && command.getOptionValueSource("model") === "cli";
      const given = isPrompt ? { model: undefined, prompt: first } : { model: first, prompt: second };
      return run(withPositional(flags, given, command), command, session);
    });
}

/** @throws BitNetError INVALID_ARGUMENT for a model or prompt that is given twice. */
function withPositional(
  flags: RunFlags,
  given: { model: string | undefined; prompt: string | undefined },
  command: Command,
): RunFlags {
  const all = { ...flags };
  for (const name of ["model", "prompt"] as const) {
    const value = given[name];
    if (value === undefined) continue;
    const isTwice = command.getOptionValueSource(name) === "cli";
    if (isTwice || (name === "prompt" && command.getOptionValueSource("file") === "cli"))
      throw new BitNetError("INVALID_ARGUMENT", `the ${name} is given twice: as an argument and by a flag`);
    all[name] = value;
    if (name === "prompt") command.setOptionValueWithSource("prompt", value, "cli");
  }
  return all;
}

function parseTimeout(text: string): number {
  return Math.min(parsePositive(text), longestTimeoutSeconds);
}

async function run(flags: RunFlags, command: Command, session: Session): Promise<void> {
  if ((flags.logprobs !== undefined || flags.promptLogprobs) && !flags.json)
    throw new BitNetError("INVALID_ARGUMENT", "--logprobs and --prompt-logprobs need --json");
  const prompt = await readPrompt(flags, command, session);
  const timeout = flags.timeout === undefined ? null : AbortSignal.timeout(flags.timeout * 1000);
  const signal = timeout === null ? session.signal : AbortSignal.any([session.signal, timeout]);
  const tooLate = `stopped after ${formatMs((flags.timeout ?? 0) * 1000)} (--timeout)`;
  let model: BitNet;
  try {
    model = await loadModel(flags, session, signal);
  } catch (error) {
    const isLate = timeout?.aborted === true && session.endedBy === null;
    if (isLate) session.fail(timeoutStatus);
    throw isLate
      ? new BitNetError("ABORTED", `${tooLate} while the model was loading`, { cause: error })
      : error;
  }
  try {
    await answer(model, prompt, flags, { session, signal });
    if (timeout?.aborted) {
      session.fail(timeoutStatus);
      session.note(`bitnet: ${tooLate}`);
    }
  } finally {
    await model.dispose();
  }
}

/** -p or -f, whichever comes from the command line rather than the environment; else what is piped in. */
async function readPrompt(flags: RunFlags, command: Command, session: Session): Promise<string> {
  const isFlag = (name: string) => command.getOptionValueSource(name) === "cli";
  if (isFlag("prompt") && isFlag("file"))
    throw new BitNetError("INVALID_ARGUMENT", "-p and -f exclude each other: give one prompt");
  if (flags.prompt !== undefined && !isFlag("file")) return flags.prompt;
  if (flags.file !== undefined) return readTextFile(flags.file, session.signal);
  if (process.stdin.isTTY)
    throw new BitNetError("INVALID_ARGUMENT", "no prompt: give -p TEXT or -f FILE, or pipe a text in");
  return readStandardInput(session.signal);
}

async function answer(
  model: BitNet,
  prompt: string,
  flags: RunFlags,
  { session, signal }: { session: Session; signal: AbortSignal },
): Promise<void> {
  const options: GenerateOptions = {
    ...samplingOptions(flags),
    ...(flags.logprobs === undefined ? {} : { logprobs: flags.logprobs }),
    ...(flags.promptLogprobs ? { promptLogprobs: 0 } : {}),
    signal,
  };
  const generation = begin(model, prompt, flags.systemPrompt, options);
  if (flags.json) {
    const result = await generation.result;
    await session.write(`${JSON.stringify(resultObject(model, result))}\n`);
    return;
  }
  await streamText(generation, session);
  const result = await generation.result;
  session.note(`${resultLine(result)}, seed ${result.seed}`);
}

/** With a system message, also an empty one, the prompt is a message of a conversation. */
function begin(
  model: BitNet,
  prompt: string,
  system: string | undefined,
  options: GenerateOptions,
): Generation {
  if (system === undefined) return model.generate(prompt, options);
  return model.createChat(system === "" ? {} : { system }).send(prompt, options);
}

/** The text as it comes, and a newline where it does not end with one. */
async function streamText(generation: Generation, session: Session): Promise<void> {
  let last = "";
  for await (const { text } of generation) {
    if (text !== "") {
      await session.write(text);
      last = text;
    }
  }
  if (!last.endsWith("\n")) await session.write("\n");
}
