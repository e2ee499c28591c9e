/** `bitnet finetune`: LoRA or full fine-tuning of a model on one's own examples, resumed where it was stopped. */
import { join } from "node:path";
import { BitNetError, openModelFiles } from "@bitnet.ts/core";
import type { FinetuneSettings, LoraTarget, OpenFinetune } from "@bitnet.ts/train";
import { type Command, InvalidArgumentError } from "commander";
import { formatBytes, formatCount } from "../format.ts";
import { openRoot } from "../open-root.ts";
import { jsonOption, option } from "../options.ts";
import type { Session } from "../session.ts";
import { chooseKernels, type Library, trainTo } from "../training.ts";
import { localData } from "../training-data.ts";
import { collect, parseFraction, parseInteger, parseNumberFrom, parsePositive } from "../values.ts";

interface FinetuneFlags {
  data: string[];
  output: string;
  evalData?: string;
  textMode: "text" | "split";
  maxSamples?: number;
  full?: boolean;
  merged?: boolean;
  rank: number;
  alpha: number;
  dropout?: number;
  targets?: LoraTarget[];
  epochs: number;
  steps?: number;
  rate: number;
  warmupSteps?: number;
  weightDecay: number;
  batchSize: number;
  accumulation: number;
  maxLength: number;
  otherWeight: number;
  evaluateEvery: number;
  checkpointEvery: number;
  keep: number;
  recompute: boolean;
  watch?: boolean;
  seed: number;
  embedding: "f16" | "f32";
  threads?: number;
  reference?: boolean;
  json?: boolean;
}

export function registerFinetune(program: Command, session: Session): void {
  const count = parseInteger(1);
  program
    .command("finetune")
    .description(
      "adapt a model to your examples: a LoRA adapter, with --merged one within the weights, or with --full every weight",
    )
    .argument("<model>", "GGUF file, Hugging Face folder, hf:owner/name, or a short name")
    .addOption(
      option(
        "--data <source>",
        "examples with messages, instruction/output, input/output or text: a .jsonl, .json, .csv or .parquet file, or hf:owner/name[:split] of the Hugging Face Hub; may be repeated",
      )
        .argParser(collect)
        .makeOptionMandatory(),
    )
    .addOption(
      option(
        "-o, --output <folder>",
        "gets checkpoints, log, plot and the adapter or model",
      ).makeOptionMandatory(),
    )
    .addOption(
      option("--eval-data <source>", "examples to evaluate on (default: a tenth of the data, at most 64)"),
    )
    .addOption(
      option(
        "--text-mode <mode>",
        "records with text alone: split in the middle into question and answer, or plain",
      )
        .choices(["split", "text"])
        .default("split"),
    )
    .addOption(option("--max-samples <n>", "take so many examples at most").argParser(count))
    .addOption(option("--full", "train every weight in place of an adapter"))
    .addOption(
      option(
        "--merged",
        "train the adapter through the ternariser and write a whole model: merging it loses nothing",
      ).conflicts("full"),
    )
    .addOption(option("--rank <n>", "rank of the adapter").argParser(count).default(32))
    .addOption(option("--alpha <x>", "the adapter counts alpha / rank").argParser(parsePositive).default(64))
    .addOption(
      option(
        "--dropout <share>",
        "share of the adapter's input left out (default: 0.1; 0 with --merged)",
      ).argParser(parseFraction),
    )
    .addOption(
      option("--targets <list>", "projections that get an adapter, by commas (default: all seven)").argParser(
        parseTargets,
      ),
    )
    .addOption(option("--epochs <n>", "passes over the data").argParser(parsePositive).default(1))
    .addOption(option("--steps <n>", "optimiser steps, in place of --epochs").argParser(count))
    .addOption(option("--rate <x>", "peak learning rate").argParser(parsePositive).default(1e-4))
    .addOption(
      option("--warmup-steps <n>", "steps to reach it (default: 100, at most a tenth)").argParser(
        parseInteger(0),
      ),
    )
    .addOption(option("--weight-decay <x>", "weight decay").argParser(parseNumberFrom(0)).default(0))
    .addOption(option("--batch-size <n>", "examples computed together").argParser(count).default(2))
    .addOption(option("--accumulation <n>", "batches of an optimiser step").argParser(count).default(8))
    .addOption(
      option("--max-length <n>", "tokens of an example; longer ones are cut").argParser(count).default(2048),
    )
    .addOption(
      option("--other-weight <x>", "weight of what the assistant does not say")
        .argParser(parseFraction)
        .default(0),
    )
    .addOption(option("--evaluate-every <n>", "steps between evaluations").argParser(count).default(500))
    .addOption(option("--checkpoint-every <n>", "steps between checkpoints").argParser(count).default(500))
    .addOption(
      option("--keep <n>", "newest checkpoints that stay, beside the best").argParser(count).default(3),
    )
    .addOption(option("--no-recompute", "keep values inside layers: faster, more memory, the same bits"))
    .addOption(
      option("--seed <n>", "seed of order, dropout and first weights")
        .argParser(parseInteger(0, 2 ** 32 - 1))
        .default(1),
    )
    .addOption(
      option("--embedding <type>", "with --full and --merged: type of the embedding in the GGUF file")
        .choices(["f16", "f32"])
        .default("f16"),
    )
    .addOption(
      option("-t, --threads <n>", "compute threads (default: the cores available)").argParser(
        parseInteger(1, 256),
      ),
    )
    .addOption(option("--watch", "draw the loss on the terminal, again and again, and on a page, loss.html"))
    .addOption(option("--reference", "compute with the slow reference kernels"))
    .addOption(jsonOption("the result"))
    .action((model: string, flags: FinetuneFlags) => finetune(model, flags, session));
}

const targetNames: Readonly<Record<string, LoraTarget>> = {
  q: "attn_q",
  k: "attn_k",
  v: "attn_v",
  o: "attn_output",
  gate: "ffn_gate",
  up: "ffn_up",
  down: "ffn_down",
};

/** `q,v`, `q_proj,v_proj` or `attn_q,attn_v`. */
function parseTargets(text: string): LoraTarget[] {
  return text.split(",").map((part) => {
    const name = part.trim().replace(/_proj$/, "");
    const target = targetNames[name] ?? Object.values(targetNames).find((each) => each === name);
    if (target !== undefined) return target;
    throw new InvalidArgumentError(`expected names of ${Object.keys(targetNames).join(", ")}, by commas.`);
  });
}

async function settingsOf(
  library: Library,
  flags: FinetuneFlags,
  session: Session,
): Promise<FinetuneSettings> {
  const { rank, alpha, merged: isMerged = false, targets = library.loraTargets } = flags;
  const { dropout = isMerged ? 0 : 0.1 } = flags;
  const data: string[] = [];
  for (const source of flags.data) data.push(...(await localData(source, session)));
  const evalData = flags.evalData === undefined ? [] : await localData(flags.evalData, session);
  if (evalData.length > 1)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `--eval-data ${flags.evalData}: has ${evalData.length} files, expected one; name it, as in hf:owner/name:folder/file`,
    );
  const { textMode, epochs, rate, weightDecay, batchSize, accumulation, maxLength, otherWeight, seed } =
    flags;
  return library.finetuneSettings({
    ...{ data, textMode, epochs, rate, weightDecay, batchSize, accumulation, maxLength, otherWeight, seed },
    lora: flags.full ? null : { rank, alpha, dropout, targets, ...(isMerged ? { isMerged } : {}) },
    evalData: evalData[0] ?? null,
    maxSamples: flags.maxSamples ?? null,
    steps: flags.steps ?? null,
    warmupSteps: flags.warmupSteps ?? null,
    evaluateEvery: flags.evaluateEvery,
    checkpointEvery: flags.checkpointEvery,
    keepCheckpoints: flags.keep,
    recomputes: flags.recompute,
  });
}

interface FinetuneResult {
  /** PEFT folder and GGUF file, or the whole model as GGUF file and Hugging Face folder. */
  files: string[];
  step: number;
  trainable: number;
  parameters: number;
  /** Mean −log p per counted token of the evaluation's examples, before and after; null without any. */
  lossBefore: number | null;
  lossAfter: number | null;
}

async function finetune(model: string, flags: FinetuneFlags, session: Session): Promise<void> {
  const library = await import("@bitnet.ts/train");
  const settings = await settingsOf(library, flags, session);
  const kernels = chooseKernels(library, flags, session);
  const files = await openModelFiles(await openRoot(model, session));
  const run = await library.openFinetune(files, settings, { folder: flags.output, kernels, name: model });
  try {
    const { trainer, executor } = run;
    const hasEvaluation = run.heldOut.length > 0;
    const lossBefore = hasEvaluation ? trainer.evaluate() : null; // of the base, whatever a checkpoint brings
    const wasResumed = await trainer.resume(session.note);
    const [trainable, parameters] = [
      library.countTrainable(executor.graph),
      library.countParameters(executor.graph),
    ];
    const { steps } = trainer.settings.schedule;
    session.note(
      `${model}: ${formatCount(trainable)} of ${formatCount(parameters)} parameters are trained (${((100 * trainable) / parameters).toFixed(2)} %), ` +
        `${formatCount(run.nExamples)} examples, ${formatCount(steps)} steps, ${kernels.name}${wasResumed ? `, resumed after step ${trainer.state.step}` : ""}`,
    );
    await trainTo(library, trainer, { ...flags, name: model }, session);
    const best = await trainer.restoreBest(session.note);
    if (best !== null) session.note(`step ${best} had the lowest evaluation loss; its weights are written`);
    const result: FinetuneResult = {
      files: await save(library, run, flags, session),
      step: best ?? trainer.state.step,
      ...{ trainable, parameters, lossBefore },
      lossAfter: hasEvaluation ? trainer.evaluate() : null,
    };
    await session.write(flags.json ? `${JSON.stringify(result)}\n` : `${describe(result)}\n`);
  } finally {
    await run.close();
    kernels.dispose();
  }
}

async function save(
  library: Library,
  { executor, base, settings }: OpenFinetune,
  { output, embedding }: FinetuneFlags,
  session: Session,
): Promise<string[]> {
  if (settings.lora !== null && !settings.lora.isMerged) {
    const [peft, gguf] = [join(output, "adapter"), join(output, "adapter.gguf")];
    await library.savePeftAdapter(peft, executor, settings.lora, base);
    await library.saveGgufAdapter(gguf, executor, settings.lora, base);
    return [peft, gguf];
  }
  const saved = await library.saveModel(output, executor, base, embedding);
  session.note(`${saved.gguf}: ${formatBytes(saved.bytes)}`);
  if (saved.reason !== null) session.note(`bitnet: no Hugging Face folder: ${saved.reason}`);
  return [saved.gguf, ...(saved.huggingFace === null ? [] : [saved.huggingFace])];
}

function describe({ files, step, lossBefore, lossAfter }: FinetuneResult): string {
  const losses =
    lossBefore === null || lossAfter === null
      ? ""
      : `; loss on held-out examples: ${lossBefore.toFixed(4)} before, ${lossAfter.toFixed(4)} after`;
  return `${files.join(" and ")}, of step ${step}${losses}`;
}
