/**
 * From a model, data and settings to a run that can be started or resumed: the trainer of models made from nothing, with other weights to
 * begin with. The same model, data and settings give the same run.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { BitNetError, type ModelFiles, openModelFiles } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { initialiseAdapter } from "../adapter/initialise-adapter.ts";
import { cutExample, type EncodedExample, type Example, encodeExample } from "../data/example.ts";
import { type FileExamples, openExamples } from "../data/file-examples.ts";
import { type LineFile, lineFile } from "../data/line-files.ts";
import { type ExampleSource, Mixture } from "../data/mixture.ts";
import { makeFolder } from "../export/write-file.ts";
import { Executor } from "../graph/executor.ts";
import { recordTransformer } from "../graph/transformer.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { nativeKernels } from "../kernels/native-kernels.ts";
import { defaultOptimizer, Optimizer } from "../train/optimizer.ts";
import { Trainer } from "../train/trainer.ts";
import { type BaseModel, loadFrozen, loadMasters, openBase } from "./base-model.ts";
import { type FinetuneSettings, finetuneSettings } from "./settings.ts";

export interface OpenFinetune {
  readonly trainer: Trainer;
  readonly executor: Executor;
  readonly base: BaseModel;
  readonly settings: FinetuneSettings;
  readonly heldOut: readonly EncodedExample[];
  readonly nExamples: number;
  close(): Promise<void>;
}

export interface OpenFinetuneOptions {
  /** Gets checkpoints and the log; made when missing. */
  folder: string;
  /** Default: the native kernels on all cores. */
  kernels?: Kernels;
  /** The base's name, for messages and adapters; default: its path. */
  name?: string;
}

/** Examples kept for evaluation, and the share of the data that they are at most. */
const mostHeldOut = 64;
const heldOutShare = 0.1;

/**
 * @param model The base: its path, or its opened files, which are taken over, also on failure.
 * @param given See `FinetuneSettings`; what is left out has the defaults of `finetuneDefaults`.
 * @throws BitNetError INVALID_ARGUMENT that lists every bad setting; for the base (`openBase`) or the data; IO_FAILED.
 */
export async function openFinetune(
  model: ModelFiles | string,
  given: Pick<FinetuneSettings, "data"> & Partial<FinetuneSettings>,
  { folder, kernels = nativeKernels(), name }: OpenFinetuneOptions,
): Promise<OpenFinetune> {
  const settings = finetuneSettings(given);
  const isPath = typeof model === "string";
  const files = isPath ? await openModelFiles(await openPath(model)) : model;
  const base = await openBase(files, name ?? (isPath ? model : "model"), settings.maxLength);
  const opened: FileExamples[] = [];
  const written: LineFile[] = [];
  const close = async () => {
    for (const file of opened) file.close();
    for (const file of written) file.remove();
    await base.close();
  };
  try {
    const { textMode } = settings;
    const open = async (data: string | readonly unknown[]) => {
      if (typeof data !== "string") return openExamples(data, { textMode });
      const lines = await lineFile(data, join(folder, "data"), written.length);
      written.push(lines);
      const file = openExamples(lines.path, { textMode, name: data, placeOf: lines.placeOf });
      opened.push(file);
      return file;
    };
    const sets: FileExamples[] = [];
    for (const each of settings.data) sets.push(await open(each));
    const { learnt, heldOut: kept } = splitExamples(
      sets,
      settings.evalData === null ? null : await open(settings.evalData),
      settings.maxSamples,
    );
    const { tokenizer, template, shape } = base;
    const heldOut = kept.flatMap((example) =>
      cutExample(
        encodeExample(example, { tokenizer, template, otherWeight: settings.otherWeight }),
        shape.contextLength,
      ),
    );
    const recipe = await hashOf(settings, base);
    const maxRows = Math.max(shape.contextLength, settings.batchSize * 64);
    const graph = recordTransformer(shape, settings.lora);
    const executor = new Executor(graph, kernels, { maxRows, recomputes: settings.recomputes });
    if (settings.lora === null) await loadMasters(executor, base);
    else {
      await loadFrozen(executor, base);
      initialiseAdapter(executor, settings.seed);
      executor.formWeights();
    }
    await makeFolder(folder);
    const batchExamples = settings.batchSize * settings.accumulation;
    const steps = settings.steps ?? Math.max(1, Math.ceil((settings.epochs * learnt.count) / batchExamples));
    const stage = { shares: [1], otherWeight: settings.otherWeight };
    const trainer = new Trainer(
      {
        schedule: {
          ...{ steps, peakRate: settings.rate, decay: settings.decay, weightDecay: settings.weightDecay },
          warmupSteps: settings.warmupSteps ?? Math.min(100, Math.ceil(steps / 10)),
          ...{ floorShare: 0, stage2Rate: 1, stage1Share: 1 },
        },
        ...{ batchTokens: maxRows, batchExamples, microBatchTokens: maxRows },
        stages: [stage, stage],
        evaluateEvery: settings.evaluateEvery,
        checkpointEvery: settings.checkpointEvery,
        keepCheckpoints: settings.keepCheckpoints,
        ...{ recipe, seed: settings.seed },
      },
      {
        executor,
        optimizer: new Optimizer(executor, defaultOptimizer),
        mixture: new Mixture([learnt], settings.seed),
        encode: { tokenizer, template },
        ...{ heldOut, folder },
      },
    );
    return { trainer, executor, base, settings, heldOut, nExamples: learnt.count, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** All files one after another; the last examples are kept for evaluation, or those of a file of their own. */
function splitExamples(
  files: readonly FileExamples[],
  evaluation: FileExamples | null,
  maxSamples: number | null,
): { learnt: ExampleSource & { count: number }; heldOut: Example[] } {
  const total = files.reduce((sum, { count }) => sum + count, 0);
  const count = Math.min(total, maxSamples ?? total);
  const at = (index: number): Example => {
    let left = index;
    for (const file of files) {
      if (left < file.count) return file.at(left);
      left -= file.count;
    }
    throw new BitNetError("INTERNAL", `fine-tuning: there is no example ${index}`);
  };
  const list = (from: (index: number) => Example, n: number) => Array.from({ length: n }, (_, i) => from(i));
  if (evaluation !== null)
    return { learnt: { count, at }, heldOut: list((i) => evaluation.at(i), evaluation.count) };
  const kept = Math.min(mostHeldOut, Math.floor(count * heldOutShare));
  return { learnt: { count: count - kept, at }, heldOut: list((i) => at(count - kept + i), kept) };
}

/** Everything that the weights depend on: the base, the data, and the settings but those of evaluating and keeping. */
async function hashOf(settings: FinetuneSettings, base: BaseModel): Promise<string> {
  const { data, evalData, evaluateEvery, checkpointEvery, keepCheckpoints, recomputes, ...rest } = settings;
  void [evaluateEvery, checkpointEvery, keepCheckpoints, recomputes];
  const template = base.template instanceof BitNetError ? null : base.template.source;
  const hash = createHash("sha256").update(JSON.stringify([base.fingerprint, template, rest]));
  for (const each of [...data, ...(evalData === null ? [] : [evalData])]) {
    if (typeof each !== "string") hash.update(JSON.stringify(each));
    else for await (const piece of createReadStream(each)) hash.update(piece as Uint8Array);
  }
  return hash.digest("hex");
}
