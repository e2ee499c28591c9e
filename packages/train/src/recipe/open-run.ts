/**
 * From a recipe to a run that can be started or resumed: opens the sources, trains or reloads the vocabulary, records the graph, draws
 * the first weights. The same recipe, seed and data give the same run.
 */
import { createHash } from "node:crypto";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { chatTemplateFor, type Tokenizer, tokenizerFromJson } from "@bitnet.ts/core";
import { cutExample, type EncodedExample, type Example, encodeExample } from "../data/example.ts";
import { openExamples } from "../data/file-examples.ts";
import { lineFile } from "../data/line-files.ts";
import { type ExampleSource, Mixture } from "../data/mixture.ts";
import { makeFolder } from "../export/write-file.ts";
import { Executor } from "../graph/executor.ts";
import { recordTransformer, type TransformerShape } from "../graph/transformer.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { readVocabulary, storeVocabulary } from "../tokenizer/stored-vocabulary.ts";
import { chatTemplate, controlTokens, tokenizerJson } from "../tokenizer/tokenizer-files.ts";
import { type BpeVocabulary, PieceCounter, trainBpe } from "../tokenizer/train-bpe.ts";
import { initialise } from "../train/initialise.ts";
import { defaultOptimizer, Optimizer } from "../train/optimizer.ts";
import { totalSteps } from "../train/schedule.ts";
import { Trainer } from "../train/trainer.ts";
import { firstStage, type RecipeExtension } from "./extensions.ts";
import type { Recipe } from "./recipe.ts";
import { defaultHeldOut, type RecipeSource } from "./recipe-source.ts";

export interface OpenRun {
  readonly trainer: Trainer;
  readonly executor: Executor;
  readonly shape: TransformerShape;
  readonly tokenizer: Tokenizer;
  readonly vocabulary: BpeVocabulary;
  /** Documents for evaluation, by the name of their source. */
  readonly heldOut: ReadonlyMap<string, readonly EncodedExample[]>;
  close(): void;
}

export interface OpenRunOptions {
  /** Gets everything; made when missing. */
  folder: string;
  kernels: Kernels;
  /** Where relative paths of the recipe start. */
  recipePath: string;
  onNotice?: (line: string) => void;
}

interface OpenSource {
  learnt: ExampleSource;
  heldOut: Example[];
  /** What identifies the data. */
  identity: string;
  close(): void;
}

/** Generated examples for evaluation come from this seed, which no run uses. */
const heldOutSeed = 0x7e57;

/** @throws BitNetError for the data or the shape; IO_FAILED. */
export async function openRun(recipe: Recipe, options: OpenRunOptions): Promise<OpenRun> {
  const { folder, kernels, onNotice = () => {} } = options;
  await makeFolder(folder);
  const sources: OpenSource[] = [];
  const close = () => {
    for (const source of sources) source.close();
  };
  try {
    for (const [i, source] of recipe.sources.entries())
      sources.push(await openSource(source, i, recipe.seed, options));
    const stages = recipe.sources.map((source) => firstStage(source, recipe.extensions));
    /** What the run knows after so many extensions. */
    const within = <T>(items: readonly T[], extensions: number): T[] =>
      items.filter((_, i) => (stages[i] ?? 0) <= extensions);
    const hashes = recipeHashes(recipe, sources, stages);
    const first = { ...recipe, sources: within(recipe.sources, 0) };
    const vocabulary = await vocabularyOf(
      first,
      within(sources, 0),
      join(folder, "vocabulary.json"),
      onNotice,
    );
    const files = tokenizerJson(vocabulary, recipe.model.contextLength);
    const tokenizer = tokenizerFromJson(files);
    const shape: TransformerShape = { ...recipe.model, vocabSize: tokenizer.vocabSize };
    const encode = { tokenizer, template: chatTemplateFor(chatTemplate, recipe.name) };
    const heldOut = new Map(
      recipe.sources.map(({ name }, i) => [
        name,
        (sources[i]?.heldOut ?? []).flatMap((example) =>
          cutExample(encodeExample(example, { ...encode, otherWeight: 1 }), shape.contextLength),
        ),
      ]),
    );
    const maxRows = Math.max(recipe.microBatchTokens, shape.contextLength);
    const executor = new Executor(recordTransformer(shape), kernels, {
      maxRows,
      recomputes: recipe.recomputes,
    });
    initialise(executor, recipe.seed);
    const stage = (i: 0 | 1) => ({
      shares: recipe.sources.map(({ shares }) => shares[i]),
      otherWeight: recipe.otherWeights[i],
      backward: recipe.backward,
      heldOut: within([...heldOut.values()], 0).flat(),
    });
    const steps = (tokens: number) => Math.max(1, Math.round(tokens / recipe.batchTokens));
    const extensions = recipe.extensions.map(({ tokens, decayTokens, schedule }) => ({
      ...schedule,
      steps: steps(tokens),
      ...(decayTokens === undefined ? {} : { decaySteps: steps(decayTokens) }),
    }));
    const lastStepOf = (count: number) =>
      totalSteps({ ...recipe.schedule, steps: steps(recipe.tokens), extensions: extensions.slice(0, count) });
    const trainer = new Trainer(
      {
        schedule: {
          ...recipe.schedule,
          steps: steps(recipe.tokens),
          extensions,
        },
        ...{ batchTokens: recipe.batchTokens, microBatchTokens: recipe.microBatchTokens },
        stages: [
          stage(0),
          stage(1),
          ...recipe.extensions.map(({ shares, otherWeight, backward }, i) => ({
            ...(backward === undefined ? {} : { backward }),
            shares: recipe.sources.map(({ name }) => shares[name] ?? 0),
            otherWeight,
            heldOut: within([...heldOut.values()], i + 1).flat(),
          })),
        ],
        ...{
          evaluateEvery: recipe.evaluateEvery,
          checkpointEvery: recipe.checkpointEvery,
          keepCheckpoints: recipe.keepCheckpoints,
        },
        recipe: hashes.at(-1) ?? "",
        extends: hashes.slice(0, -1).map((hash, i) => ({ recipe: hash, lastStep: lastStepOf(i) })),
      },
      {
        executor,
        optimizer: new Optimizer(executor, defaultOptimizer),
        mixture: new Mixture(
          sources.map(({ learnt }) => learnt),
          recipe.seed,
        ),
        encode,
        heldOut: [...heldOut.values()].flat(),
        folder,
      },
    );
    return { trainer, executor, shape, tokenizer, vocabulary, heldOut, close };
  } catch (error) {
    close();
    throw error;
  }
}

async function openSource(
  source: RecipeSource,
  index: number,
  seed: number,
  { folder, recipePath, onNotice }: OpenRunOptions,
): Promise<OpenSource> {
  const nHeldOut = source.heldOut ?? defaultHeldOut;
  const { generate } = source;
  if (generate !== undefined) {
    const at = (index: number) => generate(seed, index);
    return {
      learnt: { count: null, at },
      heldOut: Array.from({ length: nHeldOut }, (_, i) => generate(heldOutSeed, i)),
      identity: JSON.stringify(Array.from({ length: 20 }, (_, i) => at(i))),
      close() {},
    };
  }
  const path = isAbsolute(source.path ?? "")
    ? (source.path ?? "")
    : resolve(dirname(recipePath), source.path ?? "");
  const lines = await lineFile(path, join(folder, "data"), index);
  const file = openExamples(lines.path, {
    ...{ name: path, placeOf: lines.placeOf },
    ...(source.textMode === undefined ? {} : { textMode: source.textMode }),
    ...(source.maxSamples === undefined ? {} : { maxSamples: source.maxSamples }),
    ...(onNotice === undefined ? {} : { onBadLine: onNotice }),
  });
  const kept = Math.min(nHeldOut, Math.floor(file.count / 10));
  const count = file.count - kept;
  return {
    learnt: { count, at: (index) => file.at(index) },
    heldOut: Array.from({ length: kept }, (_, i) => file.at(count + i)),
    identity: JSON.stringify([file.count, file.at(0), file.at(file.count - 1)]),
    close: () => {
      file.close();
      lines.remove();
    },
  };
}

/**
 * Everything that the weights depend on: of the run itself, then with every extension. Where a stage ends counts for the next one only,
 * so that one that was stopped early is still the same up to there.
 */
function recipeHashes(recipe: Recipe, sources: readonly OpenSource[], stages: readonly number[]): string[] {
  const {
    name,
    description,
    evaluateEvery,
    checkpointEvery,
    keepCheckpoints,
    recomputes,
    backward,
    extensions,
    ...rest
  } = recipe;
  void [name, description, evaluateEvery, checkpointEvery, keepCheckpoints, recomputes];
  const of = <T>(items: readonly T[], stage: number): T[] => items.filter((_, i) => stages[i] === stage);
  // The default is left out, so that runs from before there was a choice go on.
  const precision = backward === "f32" ? {} : { backward };
  const hashes: string[] = [];
  for (let stage = 0; stage <= extensions.length; stage++) {
    const added =
      stage === 0
        ? { ...rest, ...precision, sources: of(recipe.sources, 0) }
        : [
            hashes.at(-1),
            extensions[stage - 2]?.tokens,
            courseOf(extensions[stage - 1]),
            of(recipe.sources, stage),
          ];
    const hash = createHash("sha256").update(JSON.stringify(added));
    for (const { identity } of of(sources, stage)) hash.update(identity);
    hashes.push(hash.digest("hex"));
  }
  return hashes;
}

function courseOf(extension: RecipeExtension | undefined) {
  const { tokens, decayTokens = tokens, ...rest } = extension ?? {};
  return { ...rest, decayTokens };
}

/** Trained on examples of the first stage's mixture, or reloaded where that has been done for the same settings and data. */
async function vocabularyOf(
  recipe: Recipe,
  sources: readonly OpenSource[],
  path: string,
  onNotice: (line: string) => void,
): Promise<BpeVocabulary> {
  const { vocabSize, required, samples } = recipe.tokenizer;
  const shares = recipe.sources.map((source) => source.shares[0]);
  const key = createHash("sha256")
    .update(JSON.stringify([recipe.tokenizer, shares, recipe.seed, sources.map(({ identity }) => identity)]))
    .digest("hex");
  const stored = readVocabulary(path, key);
  if (stored !== null) return stored;
  onNotice(`tokenizer: training ${vocabSize} tokens on ${samples} examples`);
  const counter = new PieceCounter();
  const mixture = new Mixture(
    sources.map(({ learnt }) => learnt),
    recipe.seed,
  );
  for (let i = 0; i < samples; i++) {
    const { source, example } = mixture.next(shares);
    const texts =
      example.kind === "text"
        ? [example.text]
        : example.messages.map(({ role, content }) => `${capital(role)}: ${content}`);
    for (const text of texts) counter.add(text);
    mixture.count(
      source,
      texts.reduce((sum, text) => sum + text.length, 1),
    );
  }
  const vocabulary = trainBpe(counter.counts, { vocabSize, specialTokens: [...controlTokens], required });
  await storeVocabulary(path, key, vocabulary);
  return vocabulary;
}

function capital(role: string): string {
  return role.slice(0, 1).toUpperCase() + role.slice(1);
}
