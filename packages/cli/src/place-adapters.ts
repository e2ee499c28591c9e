/** Which of the served models an adapter belongs to: the one that is named, or the first that it fits. */
import { BitNetError } from "@bitnet.ts/core";
import type { ServedModel } from "@bitnet.ts/server";
import { measureModel } from "bitnet.ts";

interface GivenAdapter {
  readonly name: string;
  /** Null: the first that it fits. */
  readonly model: string | null;
  readonly path: string;
}

/**
 * Gives the adapters of `--lora` to their models; without `--adapter` a model stays as it is for all who name it. Those of `--adapter`, which
 * every model has at first, are left to the one that they fit, whose own name then means the first of them.
 * @throws BitNetError INVALID_ARGUMENT for texts and names, MODEL_INVALID for one that fits no model.
 */
export async function placeAdapters(
  models: readonly ServedModel[],
  lora: readonly string[],
): Promise<ServedModel[]> {
  const [first] = models;
  if (first === undefined) return [];
  const { adapters: usual = {}, adapter: usualName } = first.options;
  const given = [
    ...Object.entries(usual).map(([name, path]) => ({ name, model: null, path })),
    ...lora.map(parseLora),
  ];
  const names = given.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new BitNetError("INVALID_ARGUMENT", `--lora: two adapters have the name ${JSON.stringify(twice)}`);
  const placed = models.map((model) => {
    const { adapters: _, adapter: __, ...options } = model.options;
    return { ...model, options };
  });
  for (const adapter of given) {
    const { options } = await modelFor(adapter, placed);
    options.adapters = { ...options.adapters, [adapter.name]: adapter.path };
    if (adapter.name === usualName) options.adapter = adapter.name;
  }
  return placed;
}

/** `NAME=PATH`, or `NAME@MODEL=PATH`. */
function parseLora(text: string): GivenAdapter {
  const [, name, model = null, path] = /^([\w.-]{1,128})(?:@([\w.:/-]{1,128}))?=(.+)$/s.exec(text) ?? [];
  if (name !== undefined && path !== undefined) return { name, model, path };
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `--lora ${JSON.stringify(text)}: expected NAME=PATH or NAME@MODEL=PATH`,
  );
}

async function modelFor(
  { name, model: wanted, path }: GivenAdapter,
  models: readonly ServedModel[],
): Promise<ServedModel> {
  const candidates = wanted === null ? models : models.filter((each) => each.name === wanted);
  const [only, another] = candidates;
  if (only === undefined)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `--lora: ${name} is for the model ${JSON.stringify(wanted)}, but there are ${models.map((each) => each.name).join(", ")}`,
    );
  // Where there is no choice, loading says what is wrong.
  if (another === undefined && only === models[0]) return only;
  const reasons: string[] = [];
  for (const candidate of candidates) {
    const { i2sLayout } = candidate.options;
    try {
      await measureModel(candidate.source, {
        ...(i2sLayout === undefined ? {} : { i2sLayout }),
        adapters: { [name]: path },
        checksBase: true,
      });
      return candidate;
    } catch (error) {
      if (!(error instanceof BitNetError && error.code === "MODEL_INVALID")) throw error;
      reasons.push(`${candidate.name}: ${error.message}`);
    }
  }
  throw new BitNetError("MODEL_INVALID", `--lora: ${name} fits no served model; ${reasons.join("; ")}`);
}
