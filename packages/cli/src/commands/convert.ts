/** `bitnet convert`: a model in another format, and with --verify the proof that it is the same model. */
import { realpath } from "node:fs/promises";
import {
  BitNetError,
  type ConversionTarget,
  compareModels,
  conversionTargets,
  type EmbeddingType,
  embeddingTypes,
  type I2sLayout,
  type ModelFiles,
  openModelFiles,
  type PlannedConversion,
  planConversion,
} from "@bitnet.ts/core";
import { BitNet, type GenerationResult } from "bitnet.ts";
import type { Command } from "commander";
import { formatBytes, formatCount, formatMs, plural } from "../format.ts";
import { namingSource } from "../load-model.ts";
import { openRoot } from "../open-root.ts";
import { i2sLayoutOption, jsonOption, option } from "../options.ts";
import { localSource } from "../pull-model.ts";
import type { Session } from "../session.ts";
import { startProgress, startStatus } from "../terminal.ts";
import { writeConversion } from "../write-whole.ts";

interface ConvertFlags {
  output: string;
  to: ConversionTarget;
  embeddings?: EmbeddingType;
  i2sLayout: I2sLayout;
  verify?: boolean;
  force?: boolean;
  json?: boolean;
}

export function registerConvert(program: Command, session: Session): void {
  program
    .command("convert")
    .description("write a model in another format")
    .argument("<model>", "GGUF file, Hugging Face folder, hf:owner/name, or a short name")
    .addOption(option("-o, --output <path>", "file (GGUF) or folder (hf-…) to write").makeOptionMandatory())
    .addOption(
      option("--to <format>", "GGUF with this packing, or a Hugging Face folder")
        .choices(conversionTargets)
        .makeOptionMandatory(),
    )
    .addOption(
      option("--embeddings <type>", "type of the embedding and the head (default: as it is)").choices(
        embeddingTypes,
      ),
    )
    .addOption(i2sLayoutOption())
    .addOption(option("--verify", "compare every trit and scale, and the log-probabilities of a prompt"))
    .addOption(option("--force", "ternarise full-precision weights that nobody trained for it"))
    .addOption(jsonOption("what was written"))
    .action((model: string, flags: ConvertFlags) => convert(model, flags, session));
}

async function convert(model: string, flags: ConvertFlags, session: Session): Promise<void> {
  const source = await localSource(model, session);
  await refuseSamePlace(source, flags.output);
  const start = performance.now();
  const rounded = { nTensors: 0, largest: 0 };
  const files = await openSource(source, flags, session);
  let written: Written;
  try {
    written = await write(files, source, flags, session, (change) => {
      if (change > 0) rounded.nTensors++;
      rounded.largest = Math.max(rounded.largest, change);
    });
  } catch (error) {
    throw namingSource(error, source);
  } finally {
    await files.close();
  }
  const { bytes, changesActivations, changesCharacters, roundsRotations } = written;
  const ms = performance.now() - start;
  if (changesActivations)
    session.note(
      `bitnet: ${flags.to} files run with activations quantised otherwise than the source's, so that answers will differ a little although the weights are the same (docs/formats.md)`,
    );
  if (roundsRotations)
    session.note(
      "bitnet: the rule for rotations and a table of divisors in f32 differ in the last place of some frequencies, so that log-probabilities may differ in their last digits (docs/formats.md)",
    );
  if (changesCharacters)
    session.note(
      "bitnet: readers of the two kinds of files change some rare characters of a text differently (marks written after their letters, ligatures), so that such a text may become other tokens (docs/formats.md)",
    );
  if (rounded.nTensors > 0)
    session.note(
      `bitnet: the scales of ${plural(rounded.nTensors, "tensor")} do not fit f16 exactly and were rounded, by at most ${(100 * rounded.largest).toPrecision(2)} %`,
    );
  const verified = flags.verify
    ? await verify(source, flags, changesActivations || roundsRotations, session)
    : null;
  const report = {
    source,
    output: flags.output,
    to: flags.to,
    bytes,
    seconds: ms / 1000,
    roundedTensors: rounded.nTensors,
    verified,
  };
  const same =
    verified === null
      ? ""
      : `; verified: ${formatCount(verified.nTrits)} trits and ${plural(verified.nScales, "scale")} are the same, ${verified.logprobs}`;
  await session.write(
    flags.json
      ? `${JSON.stringify(report)}\n`
      : `${flags.output}: ${formatBytes(bytes)}, written in ${formatMs(ms)}${same}\n`,
  );
}

async function refuseSamePlace(source: string, output: string): Promise<void> {
  const [from, to] = await Promise.all([source, output].map((path) => realpath(path).catch(() => null)));
  if (from !== null && from === to)
    throw new BitNetError("INVALID_ARGUMENT", `${output}: is the source itself; choose another name`);
}

async function openSource(
  source: string,
  { i2sLayout }: Pick<ConvertFlags, "i2sLayout">,
  session: Session,
): Promise<ModelFiles> {
  return openModelFiles(await openRoot(source, session), { i2sLayout });
}

interface Written
  extends Pick<PlannedConversion, "changesActivations" | "changesCharacters" | "roundsRotations"> {
  bytes: number;
}

async function write(
  files: ModelFiles,
  source: string,
  { to, output, embeddings, force }: ConvertFlags,
  session: Session,
  onRounded: (change: number) => void,
): Promise<Written> {
  const { signal } = session;
  const status = startStatus();
  const tensors = files.kind === "gguf" ? files.gguf.tensors : files.tensors;
  const sourceBytes = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  try {
    const plan = await planConversion(files, source, to, {
      ...(embeddings === undefined ? {} : { embeddings }),
      ...(force ? { force } : {}),
      onRounded: (_, change) => onRounded(change),
      signal,
    });
    const bytes = await writeConversion(output, plan, {
      signal,
      onBytes: (written) =>
        status.update(Math.min(1, written / sourceBytes), `Converting, ${formatBytes(written)} written`),
    });
    const { changesActivations, changesCharacters, roundsRotations } = plan;
    return { bytes, changesActivations, changesCharacters, roundsRotations };
  } finally {
    status.end();
  }
}

interface Verdict {
  nTrits: number;
  nScales: number;
  nRoundedScales: number;
  changedTables: readonly string[];
  /** In words. */
  logprobs: string;
}

/** @throws BitNetError FORMAT_INVALID when the written model is not the source. */
async function verify(
  source: string,
  flags: ConvertFlags,
  changesNumbers: boolean,
  session: Session,
): Promise<Verdict> {
  const progress = startProgress("Verifying");
  const before = await openSource(source, flags, session);
  const after = await openSource(flags.output, { i2sLayout: "128/32" }, session);
  try {
    const found = await compareModels(
      { files: before, name: source },
      { files: after, name: flags.output },
      { onProgress: progress.update, signal: session.signal, ...(flags.force ? { force: true } : {}) },
    );
    const isRounded = found.nRoundedScales > 0 || found.changedTables.length > 0 || changesNumbers;
    const expected = isRounded ? "near" : found.nReordered > 0 ? "reordered" : "equal";
    return {
      ...found,
      logprobs: flags.force
        ? "log-probabilities were not compared (--force)"
        : await compareLogprobs(source, flags, expected, session),
    };
  } finally {
    progress.end();
    await before.close();
    await after.close();
  }
}

const prompt = "The quick brown fox jumps over the lazy dog.";
const nBest = 256;
/** What the order of a sum may change in a log-probability; a wrong order of rows changes whole units. */
const reorderedTolerance = 0.05;

/** Log-sum-exp over all logits stands in every log-probability, so that equal bits here mean equal logits there. */
async function compareLogprobs(
  source: string,
  { i2sLayout, output }: ConvertFlags,
  expected: "equal" | "reordered" | "near",
  session: Session,
): Promise<string> {
  const first = await logprobsOf(source, i2sLayout, session);
  const second = await logprobsOf(output, "128/32", session);
  if (areSame(first.logprobs, second.logprobs) && areSame(first.bestIds, second.bestIds))
    return `the ${formatCount(first.logprobs.length)} log-probabilities of a prompt have the same bits`;
  const largest = first.logprobs.reduce(
    (worst, value, i) => Math.max(worst, Math.abs(value - (second.logprobs[i] ?? Number.NaN))),
    0,
  );
  if (expected === "equal" || (expected === "reordered" && !(largest < reorderedTolerance)))
    throw new BitNetError(
      "FORMAT_INVALID",
      `${output}: weights are the same, but log-probabilities differ by up to ${largest}; please report this`,
    );
  const why =
    expected === "near"
      ? "scales, tables or activations are rounded otherwise"
      : "the rows of q and k stand in another order and sums round otherwise";
  return `log-probabilities of a prompt differ by up to ${largest.toPrecision(2)}, because ${why}`;
}

interface Predictions {
  /** Of the prompt's tokens, then of the best ones after it, by rank. */
  readonly logprobs: readonly number[];
  readonly bestIds: readonly number[];
}

function areSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => Object.is(value, b[i]));
}

async function logprobsOf(path: string, i2sLayout: I2sLayout, session: Session): Promise<Predictions> {
  const model = await BitNet.load(path, {
    i2sLayout,
    kvType: "f32",
    onNotice: session.note,
    signal: session.signal,
  });
  try {
    const { result } = model.generate(prompt, {
      maxTokens: 1,
      temperature: 0,
      promptLogprobs: 0,
      logprobs: nBest,
      signal: session.signal,
    });
    return predictionsOf(await result);
  } finally {
    await model.dispose();
  }
}

function predictionsOf({ promptLogprobs, logprobs }: GenerationResult): Predictions {
  const prompt = (promptLogprobs ?? []).flatMap((entry) => (entry === null ? [] : [entry.logprob]));
  const best = (logprobs ?? []).flatMap(({ top }) => top);
  return {
    logprobs: [...prompt, ...best.map(({ logprob }) => logprob)],
    bestIds: best.map(({ id }) => id),
  };
}
