/** `bitnet train`: a model from nothing by a recipe, resumed where it was stopped, exported as GGUF and Hugging Face folder. */
import { statSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { BitNetError } from "@bitnet.ts/core";
import type { OpenRun, Recipe } from "@bitnet.ts/train";
import type { Command } from "commander";
import { formatBytes, formatCount } from "../format.ts";
import { jsonOption, option } from "../options.ts";
import { readSmallFile } from "../read-small-file.ts";
import type { Session } from "../session.ts";
import { chooseKernels, type Library, trainTo } from "../training.ts";
import { parseInteger, parsePositive, parseShare } from "../values.ts";

interface TrainFlags {
  output: string;
  threads?: number;
  tokens?: number;
  form?: "b1.58" | "b1" | "float";
  rate?: number;
  share?: number;
  backward?: "f32" | "bf16";
  embedding: "f16" | "f32";
  reference?: boolean;
  fresh?: boolean;
  watch?: boolean;
  showLabels?: number;
  exportOnly?: boolean;
  json?: boolean;
}

export function registerTrain(program: Command, session: Session): void {
  program
    .command("train")
    .description("train a model from nothing by a recipe; goes on where an earlier run stopped")
    .argument(
      "<recipe>",
      "a .json file, or a module (.js, or .ts where Node runs it) whose default export is a recipe",
    )
    .addOption(
      option("-o, --output <folder>", "gets checkpoints, log, plot and the model").makeOptionMandatory(),
    )
    .addOption(
      option("-t, --threads <n>", "compute threads (default: the cores available)").argParser(
        parseInteger(1, 256),
      ),
    )
    .addOption(
      option("--tokens <n>", "tokens to train on, in place of the recipe's").argParser(parseInteger(1)),
    )
    .addOption(
      option("--form <name>", "form of the weights, in place of the recipe's").choices([
        "b1.58",
        "b1",
        "float",
      ]),
    )
    .addOption(
      option(
        "--rate <x>",
        "highest learning rate, in place of the recipe's; extensions keep their own",
      ).argParser(parsePositive),
    )
    .addOption(
      option(
        "--share <x>",
        "the whole recipe, extensions included, at this share of its tokens, to see that it works before hours have passed",
      ).argParser(parseShare),
    )
    .addOption(
      option(
        "--backward <type>",
        "precision of gradients in every stage, in place of the recipe's; bf16 is faster, and its bits are the processor's",
      ).choices(["f32", "bf16"]),
    )
    .addOption(
      option(
        "--embedding <type>",
        "type of the embedding in the GGUF file; f32 computes exactly what training did",
      )
        .choices(["f16", "f32"])
        .default("f16"),
    )
    .addOption(option("--watch", "draw the loss on the terminal, again and again, and on a page, loss.html"))
    .addOption(option("--reference", "compute with the slow reference kernels"))
    .addOption(option("--fresh", "refuse to start where there is a checkpoint, rather than go on with it"))
    .addOption(
      option("--show-labels <n>", "show what is learnt of the first n examples, and end").argParser(
        parseInteger(1, 1000),
      ),
    )
    .addOption(
      option("--export-only", "train nothing: write the model of the newest checkpoint, to try it meanwhile"),
    )
    .addOption(jsonOption("the result"))
    .action((recipe: string, flags: TrainFlags) => train(recipe, flags, session));
}

async function train(path: string, flags: TrainFlags, session: Session): Promise<void> {
  const library = await import("@bitnet.ts/train");
  const whole = library.parseRecipe(override(await readRecipe(path), flags), path);
  const recipe = flags.share === undefined ? whole : library.shrinkRecipe(whole, flags.share);
  const kernels = chooseKernels(library, flags, session);
  const run = await library.openRun(recipe, {
    folder: flags.output,
    kernels,
    recipePath: resolve(path),
    onNotice: session.note,
  });
  try {
    const { trainer, executor } = run;
    if (flags.showLabels !== undefined) return await showLabels(run, flags.showLabels, session);
    const wasResumed = await trainer.resume(session.note);
    if (wasResumed && flags.fresh)
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `${flags.output}: holds a checkpoint already; choose another folder`,
      );
    if (flags.exportOnly && !wasResumed)
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `${flags.output}: holds no checkpoint of this recipe to export`,
      );
    const nParameters = library.countParameters(executor.graph);
    session.note(
      `${recipe.name}: ${formatCount(nParameters)} parameters (${recipe.model.form}), ${formatCount(trainer.lastStep)} steps ` +
        `of ${formatCount(recipe.batchTokens)} tokens, ${kernels.name}${wasResumed ? `, resumed after step ${trainer.state.step}` : ""}`,
    );
    const report = async () => {
      const result = await exportRun(library, run, recipe, flags);
      await session.write(flags.json ? `${JSON.stringify(result)}\n` : `${describe(result)}\n`);
    };
    if (flags.exportOnly) return await report();
    await trainTo(library, trainer, { ...flags, name: recipe.name }, session);
    await report();
  } finally {
    run.close();
    kernels.dispose();
  }
}

async function readRecipe(path: string): Promise<unknown> {
  if (!/\.(json|[cm]?[jt]s)$/.test(path) || statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${path}: expected the file of a recipe: JSON, or a module (.js, .mjs) whose default export is one`,
    );
  if (!path.endsWith(".json")) {
    try {
      const module = (await import(pathToFileURL(resolve(path)).href)) as { default?: unknown };
      return module.default;
    } catch (cause) {
      throw new BitNetError(
        "IO_FAILED",
        `${path}: cannot be imported as a recipe (${(cause as Error).message})`,
        { cause },
      );
    }
  }
  const text = readSmallFile(path);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BitNetError("FORMAT_INVALID", `${path}: is not JSON (${(cause as Error).message})`, { cause });
  }
}

function override(recipe: unknown, { tokens, form, rate, backward }: TrainFlags): unknown {
  if (typeof recipe !== "object" || recipe === null) return recipe;
  const { model, schedule, extensions, ...rest } = recipe as {
    model?: object;
    schedule?: object;
    extensions?: unknown;
  };
  const isChanged = backward !== undefined && Array.isArray(extensions);
  return {
    ...rest,
    ...(backward === undefined ? {} : { backward }),
    ...(extensions === undefined
      ? {}
      : { extensions: isChanged ? extensions.map((each: object) => ({ ...each, backward })) : extensions }),
    model: form === undefined ? model : { ...model, form },
    schedule: rate === undefined ? schedule : { ...schedule, peakRate: rate },
    ...(tokens === undefined ? {} : { tokens }),
  };
}

interface TrainResult {
  gguf: string | null;
  bytes: number;
  huggingFace: string | null;
  step: number;
  tokens: number;
  /** Mean −log p per token of held-out documents, by source. */
  losses: Record<string, number>;
}

async function exportRun(
  library: Library,
  run: OpenRun,
  recipe: Recipe,
  flags: TrainFlags,
): Promise<TrainResult> {
  const { trainer, executor, shape, vocabulary } = run;
  const losses = Object.fromEntries(
    [...run.heldOut].flatMap(([name, documents]) =>
      documents.length === 0 ? [] : [[name, trainer.evaluate(documents)]],
    ),
  );
  const hasGguf = shape.form !== "float" && shape.hasSubNorms && shape.activation === "relu2";
  const gguf = join(flags.output, "model.gguf");
  const huggingFace = join(flags.output, "huggingface");
  const { name, description } = recipe;
  const options = {
    name,
    description,
    tokenizer: library.tokenizerGguf(vocabulary),
    embeddingType: flags.embedding,
  };
  const bytes = hasGguf ? await library.exportGguf(gguf, executor, shape, options) : 0;
  const hasHf = shape.form !== "b1";
  if (hasHf)
    await library.exportHf(
      huggingFace,
      executor,
      shape,
      library.tokenizerJson(vocabulary, shape.contextLength),
    );
  const { step, tokens } = trainer.state;
  return {
    gguf: hasGguf ? gguf : null,
    bytes,
    huggingFace: hasHf ? huggingFace : null,
    step,
    tokens,
    losses,
  };
}

function describe({ gguf, bytes, huggingFace, tokens, losses }: TrainResult): string {
  const written = [gguf === null ? [] : [`${gguf} (${formatBytes(bytes)})`], huggingFace ?? []].flat();
  const parts = Object.entries(losses).map(([name, loss]) => `${name} ${loss.toFixed(4)}`);
  return `${written.join(" and ")}, after ${formatCount(tokens)} tokens${parts.length === 0 ? "" : `; loss on held-out text: ${parts.join(", ")}`}`;
}

/** Every token with its weight: what is learnt stands in brackets. */
async function showLabels({ heldOut, tokenizer }: OpenRun, n: number, session: Session): Promise<void> {
  for (const [name, documents] of heldOut)
    for (const { ids, weights } of documents.slice(0, n)) {
      const text = Array.from(ids, (id, i) =>
        weights[i] === 1 ? `[${tokenizer.decode([id])}]` : tokenizer.decode([id]),
      );
      await session.write(`${JSON.stringify({ source: name, text: text.join("") })}\n`);
    }
}
