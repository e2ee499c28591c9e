/**
 * `bitnet bench`: how fast a model processes prompts and generates, as a share of what the machine's memory can deliver. Every
 * repetition has a prompt of its own, so that nothing comes from the cache of the one before.
 */
import { BitNetError, throwIfAborted } from "@bitnet.ts/core";
import { type BitNet, measureReadBandwidth } from "bitnet.ts";
import type { Command } from "commander";
import { formatBytes, formatRate, formatTable, median, plural } from "../format.ts";
import { loadModel } from "../load-model.ts";
import { addModelOptions, jsonOption, type ModelFlags, option } from "../options.ts";
import { RandomBits } from "../random-bits.ts";
import type { Session } from "../session.ts";
import { startProgress } from "../terminal.ts";
import { parseInteger, parsePositive } from "../values.ts";

interface BenchFlags extends ModelFlags {
  nPrompt: number;
  nGen: number;
  repetitions: number;
  seed: number;
  json?: boolean;
  expectDecodeShare?: number;
  expectPrefill?: number;
}

export function registerBench(program: Command, session: Session): void {
  const command = program
    .command("bench")
    .description("measure prompt processing and generation; medians over the repetitions")
    .addOption(option("-p, --n-prompt <n>", "tokens of the prompt").argParser(parseInteger(1)).default(128))
    .addOption(option("-n, --n-gen <n>", "tokens to generate").argParser(parseInteger(1)).default(64))
    .addOption(
      option("-r, --repetitions <n>", "repetitions after one for warming up")
        .argParser(parseInteger(1, 1000))
        .default(3),
    );
  addModelOptions(command)
    .addOption(
      option("-s, --seed <n>", "seed of the prompts")
        .argParser(parseInteger(0, 2 ** 32 - 1))
        .default(1),
    )
    .addOption(jsonOption("the result"))
    .addOption(
      option(
        "--expect-decode-share <x>",
        "say whether generation reaches this share of the bare read bandwidth",
      ).argParser(parsePositive),
    )
    .addOption(
      option("--expect-prefill <n>", "say whether prompts reach this many tokens per second").argParser(
        parsePositive,
      ),
    )
    .action((flags: BenchFlags) => bench(flags, session));
}

type Result = Awaited<ReturnType<typeof measure>>;

async function bench(flags: BenchFlags, session: Session): Promise<void> {
  const model = await loadModel(flags, session);
  let result: Result;
  try {
    checkLength(model, flags);
    result = await measure(model, flags, session);
  } finally {
    await model.dispose();
  }
  const verdicts = judge(result, flags);
  await session.write(flags.json ? `${JSON.stringify(result)}\n` : `${describe(result)}\n`);
  for (const verdict of verdicts) {
    if (flags.json) session.note(verdict);
    else await session.write(`${verdict}\n`);
  }
}

function checkLength({ info }: BitNet, { nPrompt, nGen }: BenchFlags): void {
  if (nPrompt + nGen <= info.contextLength) return;
  throw new BitNetError(
    "CONTEXT_EXCEEDED",
    `bench: ${nPrompt} prompt tokens and ${nGen} to generate are more than the context of ${info.contextLength}; choose smaller -p and -n`,
  );
}

async function measure(model: BitNet, flags: BenchFlags, session: Session) {
  const { info } = model;
  const progress = startProgress("Measuring");
  const timings = [];
  try {
    for (let run = 0; run <= flags.repetitions; run++) {
      timings.push(await runOnce(model, flags, run, session.signal));
      progress.update((run + 1) / (flags.repetitions + 1));
    }
  } finally {
    progress.end();
  }
  const measured = timings.slice(1);
  const { privateBytes, mappedBytes, kvBytesPerToken } = model.stats();
  const bareRead = info.backend === "native" ? await measureReadBandwidth(info.threads) : null;
  const decodeRate = median(measured.map(({ decodeTokensPerSecond }) => decodeTokensPerSecond));
  return {
    model: info.source,
    backend: info.backend,
    isa: info.isa,
    threads: info.threads,
    prompt: {
      tokens: flags.nPrompt,
      tokensPerSecond: median(measured.map(({ promptTokensPerSecond }) => promptTokensPerSecond)),
    },
    decode: { tokens: flags.nGen, tokensPerSecond: decodeRate, bytesPerToken: info.bytesPerToken },
    bandwidth: {
      bareReadBytesPerSecond: bareRead,
      share: bareRead === null ? null : (info.bytesPerToken * decodeRate) / bareRead,
    },
    memory: { privateBytes, mappedBytes, kvBytesPerToken },
  };
}

async function runOnce(model: BitNet, { nPrompt, nGen, seed }: BenchFlags, run: number, signal: AbortSignal) {
  const prompt = randomPrompt(model, nPrompt, new RandomBits(seed, run));
  // The first token comes out of the prompt: one more makes as many decode steps as were asked for, where the context allows.
  const maxTokens = Math.min(nGen + 1, model.info.contextLength - nPrompt);
  const options = { maxTokens, temperature: 0, repeatPenalty: 1, ignoreEos: true, signal };
  const { timings } = await model.generate(prompt, options).result;
  throwIfAborted(signal);
  return timings;
}

/** Ordinary tokens only; control tokens are few and might mean something. */
function randomPrompt({ tokenizer }: BitNet, length: number, random: RandomBits): Int32Array {
  const ids = new Int32Array(length);
  for (let i = 0; i < length; ) {
    const id = Math.floor(random.next() * tokenizer.vocabSize);
    if (!tokenizer.isSpecial(id)) ids[i++] = id;
  }
  return ids;
}

function describe({ model, backend, isa, threads, prompt, decode, bandwidth, memory }: Result): string {
  const { bareReadBytesPerSecond: bareRead, share } = bandwidth;
  return formatTable([
    ["Model", model],
    ["Machine", `${backend}/${isa}, ${plural(threads, "thread")}`],
    ["Prompt", plural(prompt.tokens, "token"), formatRate(prompt.tokensPerSecond)],
    ["Decode", plural(decode.tokens, "token"), formatRate(decode.tokensPerSecond)],
    ["Read per token", formatBytes(decode.bytesPerToken)],
    ["Bare read", bareRead === null ? "not measured" : `${formatBytes(bareRead)}/s`],
    ["Share", share === null ? "unknown" : `${(100 * share).toFixed(0)} % of the bare read`],
    [
      "Memory",
      `${formatBytes(memory.privateBytes)} private, ${formatBytes(memory.mappedBytes)} mapped, ` +
        `${formatBytes(memory.kvBytesPerToken)} per token of context`,
    ],
  ]);
}

function judge({ prompt, bandwidth }: Result, { expectDecodeShare, expectPrefill }: BenchFlags): string[] {
  const verdicts: string[] = [];
  if (expectDecodeShare !== undefined) {
    const { share } = bandwidth;
    const found = share === null ? "unknown" : share.toFixed(2);
    verdicts.push(
      `decode share ${found}, expected ${expectDecodeShare}: ${verdict((share ?? 0) >= expectDecodeShare)}`,
    );
  }
  if (expectPrefill !== undefined) {
    const rate = prompt.tokensPerSecond;
    verdicts.push(`prompt ${formatRate(rate)}, expected ${expectPrefill}: ${verdict(rate >= expectPrefill)}`);
  }
  return verdicts;
}

function verdict(isMet: boolean): string {
  return isMet ? "pass" : "FAIL";
}
