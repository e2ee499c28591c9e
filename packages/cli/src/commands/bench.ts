/**
 * `bitnet bench`: how fast a model processes prompts and generates, as a share of what the machine's memory can deliver; with
 * --levels what each thing that makes it fast is worth, with --scenario whether it suits a kind of machine.
 */
import { type BitNet, measureReadBandwidth } from "bitnet.ts";
import type { Command } from "commander";
import { type BenchFlags, checkLength, printResult, sampleInTurn } from "../bench-flags.ts";
import { formatEnergy, medianJoules } from "../bench-levels.ts";
import { scenarios } from "../bench-scenarios.ts";
import { formatBytes, formatRate, formatTable, median, plural } from "../format.ts";
import { loadModel } from "../load-model.ts";
import { addModelOptions, jsonOption, option } from "../options.ts";
import type { Session } from "../session.ts";
import { parseInteger, parsePositive } from "../values.ts";
import { benchLevels } from "./bench-levels.ts";
import { benchScenario } from "./bench-scenario.ts";

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
    .addOption(
      option(
        "--levels",
        "compare one scalar thread (slow: choose small -p and -n for a large model), all cores at their best, and the same with a screened head",
      ).conflicts("scenario"),
    )
    .addOption(
      option("--scenario <name>", "judge the model for a kind of machine").choices(
        scenarios.map(({ name }) => name),
      ),
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

async function bench(flags: BenchFlags, session: Session): Promise<void> {
  const scenario = scenarios.find(({ name }) => name === flags.scenario);
  if (flags.levels === true) await benchLevels(flags, session);
  else if (scenario !== undefined) await benchScenario(scenario, flags, session);
  else await benchModel(flags, session);
}

type Result = Awaited<ReturnType<typeof measure>>;

async function benchModel(flags: BenchFlags, session: Session): Promise<void> {
  const model = await loadModel(flags, session);
  let result: Result;
  try {
    checkLength(model, flags);
    result = await measure(model, flags, session);
  } finally {
    await model.dispose();
  }
  const verdicts = judge(result, flags);
  await printResult(session, flags, result, describe(result));
  for (const verdict of verdicts) {
    if (flags.json) session.note(verdict);
    else await session.write(`${verdict}\n`);
  }
}

async function measure(model: BitNet, flags: BenchFlags, session: Session) {
  const { info } = model;
  const [samples = []] = await sampleInTurn([model], flags, session.signal);
  const { privateBytes, mappedBytes, kvBytesPerToken, screening } = model.stats();
  const bareRead = info.backend === "native" ? await measureReadBandwidth(info.threads) : null;
  const decodeRate = median(samples.map(({ decodeTokensPerSecond }) => decodeTokensPerSecond));
  return {
    model: info.source,
    backend: info.backend,
    isa: info.isa,
    threads: info.threads,
    prompt: {
      tokens: flags.nPrompt,
      tokensPerSecond: median(samples.map(({ promptTokensPerSecond }) => promptTokensPerSecond)),
    },
    decode: { tokens: flags.nGen, tokensPerSecond: decodeRate, bytesPerToken: info.bytesPerToken },
    bandwidth: {
      bareReadBytesPerSecond: bareRead,
      share: bareRead === null ? null : (info.bytesPerToken * decodeRate) / bareRead,
    },
    memory: { privateBytes, mappedBytes, kvBytesPerToken },
    // Null for backends that have no such thing.
    head: screening
      ? {
          screened: screening.screened,
          full: screening.full,
          candidatesPerScreen: screening.screened === 0 ? 0 : screening.candidates / screening.screened,
        }
      : null,
    energy: medianJoules(samples),
  };
}

function describe({
  model,
  backend,
  isa,
  threads,
  prompt,
  decode,
  bandwidth,
  memory,
  energy,
}: Result): string {
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
    ["Energy", formatEnergy(energy)],
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
