/**
 * A training run: examples of a mixture to micro-batches, gradients, optimiser steps, evaluation and checkpoints. Everything that the
 * numbers depend on is in the settings, the mixture and the state, so that a run that was killed goes on as if nothing had happened.
 */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { BitNetError, throwIfAborted } from "@bitnet.ts/core";
import { cutExample, type EncodedExample, type EncodeSettings, encodeExample } from "../data/example.ts";
import type { Mixture } from "../data/mixture.ts";
import { labelWeight, packDocuments } from "../data/pack.ts";
import type { BackwardPrecision, Executor } from "../graph/executor.ts";
import { restoreNewest, restoreStep, saveCheckpoint, type TrainingState } from "./checkpoint.ts";
import { type LogEntry, TrainingLog } from "./log.ts";
import type { Optimizer } from "./optimizer.ts";
import { isEnd, rateAt, type Schedule, stageOf, totalSteps, weightDecayAt } from "./schedule.ts";

export interface StageSettings {
  /** One per source of the mixture. */
  shares: readonly number[];
  /** Weight of what the assistant does not say. */
  otherWeight: number;
  /** Default f32. */
  backward?: BackwardPrecision;
  /** Documents to evaluate on, in place of the run's: those of an extension's own sources among them. */
  heldOut?: readonly EncodedExample[];
}

export interface TrainerSettings {
  schedule: Schedule;
  /** Predictions per optimiser step: documents are taken until there are so many. */
  batchTokens: number;
  /** Examples per optimiser step in place of `batchTokens`. */
  batchExamples?: number;
  /** Of dropout. */
  seed?: number;
  /** The most predictions of one pass: bounds memory, changes no more than roundings. */
  microBatchTokens: number;
  /** The two of the schedule, and one for every extension. */
  stages: readonly StageSettings[];
  /** Steps between evaluations and between checkpoints; the last step has both. */
  evaluateEvery: number;
  checkpointEvery: number;
  keepCheckpoints: number;
  /** Hash of all that the numbers depend on. */
  recipe: string;
  /** The runs that this one extends: it goes on from their checkpoints, up to where their part ends. */
  extends?: readonly { recipe: string; lastStep: number }[];
}

export interface TrainerParts {
  executor: Executor;
  optimizer: Optimizer;
  mixture: Mixture;
  encode: Omit<EncodeSettings, "otherWeight">;
  /** Documents that the run never learns from. */
  heldOut: readonly EncodedExample[];
  /** Gets checkpoints and the log. */
  folder: string;
}

export interface TrainerHooks {
  onEntry?: (entry: LogEntry) => void;
  onNotice?: (line: string) => void;
  /** Aborting ends the run after the step under way, with a checkpoint. */
  signal?: AbortSignal;
}

export class Trainer {
  readonly settings: TrainerSettings;
  readonly #parts: TrainerParts;
  #state: TrainingState;

  constructor(settings: TrainerSettings, parts: TrainerParts) {
    this.settings = settings;
    this.#parts = parts;
    this.#state = { step: 0, tokens: 0, data: parts.mixture.state, best: null, recipe: settings.recipe };
  }

  get state(): Readonly<TrainingState> {
    return this.#state;
  }

  /** The step that the run ends with, extensions included. */
  get lastStep(): number {
    return totalSteps(this.settings.schedule);
  }

  get checkpointFolder(): string {
    return join(this.#parts.folder, "checkpoints");
  }

  /** Goes on from the newest whole checkpoint. @returns Whether there was one. */
  async resume(onNotice: (line: string) => void = () => {}): Promise<boolean> {
    const { executor, optimizer, mixture } = this.#parts;
    const state = await restoreNewest(this.checkpointFolder, executor, optimizer, this.#recipes, onNotice);
    if (state === null) return false;
    const end =
      this.settings.extends?.find(({ recipe }) => recipe === state.recipe)?.lastStep ?? this.lastStep;
    if (state.step > end)
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `${this.checkpointFolder}: its newest checkpoint is of step ${state.step}, and the recipe goes on otherwise after step ${end}; ` +
          "remove the checkpoints beyond, or choose another output folder",
      );
    // A run that is extended knew fewer sources.
    const nSources = mixture.state.taken.length;
    const level = (counts: readonly number[]) => Array.from({ length: nSources }, (_, i) => counts[i] ?? 0);
    const data = { taken: level(state.data.taken), tokens: level(state.data.tokens) };
    this.#state = { ...state, data, recipe: this.settings.recipe };
    mixture.restore(data);
    return true;
  }

  /**
   * Runs to the last step.
   * @throws BitNetError ABORTED after a checkpoint when `signal` fired; NUMERIC_FAILURE with the step and the last checkpoint.
   */
  async run({ onEntry, onNotice, signal }: TrainerHooks = {}): Promise<TrainingState> {
    const { schedule, evaluateEvery, checkpointEvery } = this.settings;
    const log = new TrainingLog(join(this.#parts.folder, "log.jsonl"), this.#state.step);
    const tell = (entry: LogEntry) => {
      log.append(entry);
      onEntry?.(entry);
    };
    // What a later stage wants is known to be there before hours have passed.
    for (const { backward = "f32" } of this.settings.stages.slice(
      stageOf(schedule, this.#state.step + 1) - 1,
    ))
      this.#parts.executor.setBackward(backward);
    const began = performance.now();
    const tokensBefore = this.#state.tokens;
    while (this.#state.step < this.lastStep) {
      const entry = this.#step();
      const seconds = (performance.now() - began) / 1000;
      const { step, tokens } = this.#state;
      tell({
        ...entry,
        seconds: round(seconds),
        tokensPerSecond: Math.round((tokens - tokensBefore) / seconds),
      });
      const isLast = isEnd(schedule, step);
      if (isLast || step % evaluateEvery === 0) this.#evaluate(tell);
      if (isLast || step % checkpointEvery === 0 || signal?.aborted) await this.#checkpoint(tell, onNotice);
      throwIfAborted(signal);
      await setImmediate();
    }
    return this.#state;
  }

  /**
   * Puts the weights of the best evaluation back, where there is a checkpoint of it.
   * @returns Its step; null when the weights are those of the last step.
   */
  async restoreBest(onNotice: (line: string) => void = () => {}): Promise<number | null> {
    const { best, step } = this.#state;
    if (best === null || best.step === step) return null;
    const { executor, optimizer } = this.#parts;
    const state = await restoreStep(
      this.checkpointFolder,
      best.step,
      executor,
      optimizer,
      this.#recipes,
      onNotice,
    );
    return state?.step ?? null;
  }

  get #stage(): StageSettings | undefined {
    return this.settings.stages[stageOf(this.settings.schedule, this.#state.step) - 1];
  }

  /** Mean loss over held-out documents; changes nothing. */
  evaluate(documents: readonly EncodedExample[] = this.#parts.heldOut): number {
    const { executor } = this.#parts;
    let [sum, weight] = [0, 0];
    for (const batch of packDocuments(documents, this.#maxRows)) {
      const loss = executor.loss(batch);
      sum += loss.sum;
      weight += loss.weight;
    }
    return weight === 0 ? Number.NaN : sum / weight;
  }

  get #recipes(): readonly string[] {
    const { recipe, extends: earlier = [] } = this.settings;
    return [recipe, ...earlier.map((each) => each.recipe)];
  }

  get #maxRows(): number {
    return Math.max(this.settings.microBatchTokens, this.#parts.executor.graph.contextLength);
  }

  #step(): Omit<LogEntry & { kind: "step" }, "seconds" | "tokensPerSecond"> {
    const { executor, optimizer, mixture } = this.#parts;
    const { schedule } = this.settings;
    const step = this.#state.step + 1;
    if (step > 1 && stageOf(schedule, step) !== stageOf(schedule, step - 1)) {
      mixture.restartShares();
      // An extension is evaluated on documents of its own: its best is another.
      if (stageOf(schedule, step) > 2) this.#state = { ...this.#state, best: null };
    }
    const stage = this.settings.stages[stageOf(schedule, step) - 1] as StageSettings;
    executor.setBackward(stage.backward ?? "f32");
    const documents = this.#documents(stage);
    const weight = labelWeight(documents);
    const [rate, weightDecay] = [rateAt(schedule, step), weightDecayAt(schedule, step)];
    try {
      executor.clearGradients();
      let [sum, tokens] = [0, 0];
      for (const batch of packDocuments(documents, this.#maxRows)) {
        const key = { seed: this.settings.seed ?? 0, step, firstRow: tokens };
        sum += executor.gradient(batch, 1 / weight, key).sum;
        tokens += batch.ids.length;
      }
      if (!Number.isFinite(sum))
        throw new BitNetError("NUMERIC_FAILURE", "training: the loss is NaN or infinite");
      executor.finishGradients();
      const gradientNorm = optimizer.step(step, rate, weightDecay);
      this.#state = { ...this.#state, step, tokens: this.#state.tokens + tokens, data: mixture.state };
      return {
        kind: "step",
        step,
        loss: sum / weight,
        tokens: this.#state.tokens,
        rate,
        weightDecay,
        gradientNorm,
      };
    } catch (error) {
      if (!(error instanceof BitNetError) || error.code !== "NUMERIC_FAILURE") throw error;
      throw new BitNetError(
        "NUMERIC_FAILURE",
        `step ${step}: ${error.message}; checkpoints stand in ${this.checkpointFolder}`,
        {
          cause: error,
          details: { step },
        },
      );
    }
  }

  /** Documents of one step, from wherever the mixture stands. */
  #documents({ shares, otherWeight }: StageSettings): EncodedExample[] {
    const { mixture, encode, executor } = this.#parts;
    const documents: EncodedExample[] = [];
    const { batchTokens, batchExamples } = this.settings;
    let [rows, examples, empty] = [0, 0, 0];
    const isWhole = () =>
      batchExamples === undefined ? rows >= batchTokens : examples >= batchExamples && rows > 0;
    for (; !isWhole(); examples++) {
      const { source, example } = mixture.next(shares);
      const pieces = cutExample(
        encodeExample(example, { ...encode, otherWeight }),
        executor.graph.contextLength,
      );
      const n = pieces.reduce((sum, piece) => sum + piece.ids.length - 1, 0);
      // At least one, so that a source without use does not stay the one that lags most.
      mixture.count(source, Math.max(1, n));
      empty = n === 0 ? empty + 1 : 0;
      if (empty === 10_000)
        throw new BitNetError("INVALID_ARGUMENT", "training: the data hold nothing to learn from");
      rows += n;
      documents.push(...pieces);
    }
    return documents;
  }

  #evaluate(tell: (entry: LogEntry) => void): void {
    const { step, tokens, best } = this.#state;
    const documents = this.#stage?.heldOut ?? this.#parts.heldOut;
    if (documents.length === 0) return;
    const loss = this.evaluate(documents);
    tell({ kind: "evaluation", step, loss, tokens });
    if (best === null || loss < best.loss) this.#state = { ...this.#state, best: { loss, step } };
  }

  async #checkpoint(tell: (entry: LogEntry) => void, onNotice: TrainerHooks["onNotice"]): Promise<void> {
    const { executor, optimizer } = this.#parts;
    const { best, step } = this.#state;
    const keep = this.settings.keepCheckpoints;
    // The best so far is only kept where there is a checkpoint of its step.
    const path = await saveCheckpoint(
      this.checkpointFolder,
      executor,
      optimizer,
      { ...this.#state, best },
      { keep },
    );
    tell({ kind: "checkpoint", step });
    onNotice?.(`checkpoint: ${path}`);
  }
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
