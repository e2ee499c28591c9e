/** Ollama's view of the models: what there is, what is loaded, and facts about each. */
import type { BitNet } from "bitnet.ts";
import { mayThink } from "../chat-core.ts";
import { ServeError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { describeFile, digestOf } from "../model-identity.ts";
import type { LoadedModel } from "../models.ts";

const digests = new Map<string, Promise<string>>();

function digestOnce(source: string): Promise<string> {
  const known = digests.get(source) ?? digestOf(source);
  digests.set(source, known);
  return known;
}

/** Names carry a tag there. */
function tagged(name: string): string {
  return name.includes(":") ? name : `${name}:latest`;
}

export async function tags(exchange: Exchange): Promise<void> {
  const models = await Promise.all(
    exchange.serving.models.list.map(async (entry) => {
      const own = await summarise(entry);
      const details = { ...own.details, parent_model: own.name };
      const adapters = entry.adapters.map((name) => ({
        ...own,
        name: tagged(name),
        model: tagged(name),
        details,
      }));
      return [own, ...adapters];
    }),
  );
  exchange.sendJson({ models: models.flat() });
}

export async function running(exchange: Exchange): Promise<void> {
  const loaded = exchange.serving.models.list.filter(({ model }) => model !== null);
  const models = await Promise.all(
    loaded.map(async (entry) => ({
      ...(await summarise(entry)),
      expires_at: entry.expiresAt?.toISOString() ?? "9999-12-31T23:59:59Z",
      size_vram: 0,
      context_length: entry.model?.info.contextLength ?? 0,
    })),
  );
  exchange.sendJson({ models });
}

export async function show(exchange: Exchange): Promise<void> {
  const { body, serving } = exchange;
  const name = body.string("model") ?? body.requiredString("name");
  const own = serving.models.resolve(name);
  const lease = await exchange.start(name);
  const entry = serving.models.list.find((each) => each.name === own);
  const { info, template } = lease.model;
  const { modified } = await describeFile(info.source);
  exchange.sendJson({
    modified_at: modified.toISOString(),
    parameters: `num_ctx ${info.contextLength}`,
    template: template.source,
    details: detailsOf(entry?.model ?? lease.model),
    model_info: {
      "general.architecture": info.architecture,
      "general.parameter_count": info.nParameters,
      [`${info.architecture}.context_length`]: info.contextLength,
      [`${info.architecture}.embedding_length`]: info.hiddenSize,
      [`${info.architecture}.block_count`]: info.nLayers,
      [`${info.architecture}.attention.head_count`]: info.nHeads,
      [`${info.architecture}.attention.head_count_kv`]: info.nKvHeads,
      [`${info.architecture}.feed_forward_length`]: info.ffnSize,
      [`${info.architecture}.vocab_size`]: info.vocabSize,
    },
    capabilities: [
      ...(info.canGenerate ? ["completion", "tools"] : []),
      ...(mayThink(lease.model) ? ["thinking"] : []),
      ...(info.embeddingSize === null ? [] : ["embedding"]),
    ],
  });
}

export async function version(exchange: Exchange): Promise<void> {
  exchange.sendJson({ version: exchange.serving.version });
}

export async function notHere(exchange: Exchange): Promise<void> {
  throw new ServeError(
    "NOT_SUPPORTED",
    `${exchange.request.url.split("?")[0]} is not supported by this server`,
  );
}

async function summarise(entry: LoadedModel) {
  const { bytes, modified } = await describeFile(entry.source);
  const name = tagged(entry.name);
  return {
    name,
    model: name,
    modified_at: modified.toISOString(),
    size: bytes,
    digest: await digestOnce(entry.source),
    details: detailsOf(entry.model),
  };
}

/** Of a model that has not been loaded nothing is known. */
function detailsOf(model: BitNet | null): object {
  const known = { parent_model: "", format: "gguf" };
  if (model === null)
    return { ...known, family: "", families: [], parameter_size: "", quantization_level: "" };
  const { architecture, nParameters, tensorTypes } = model.info;
  const millions = nParameters / 1e6;
  return {
    ...known,
    family: architecture,
    families: [architecture],
    parameter_size: millions >= 1000 ? `${(millions / 1000).toFixed(1)}B` : `${millions.toFixed(1)}M`,
    quantization_level: tensorTypes[0] ?? "",
  };
}
