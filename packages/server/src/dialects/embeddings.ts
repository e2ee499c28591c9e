/** Embeddings of texts: OpenAI's, and both of Ollama's. */
import { invalid, ServeError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import type { Fields } from "../fields.ts";
import { checkPromptSize } from "../prompts.ts";
import { screenIds } from "../security/screen-prompts.ts";
import { readKeepAlive } from "./keep-alive.ts";

/** OpenAI's limit. */
const maxInputs = 2048;
/** A token has some characters; what was reserved too much is given back. */
const charactersPerToken = 2;

type Input = string | readonly number[];

interface EmbeddingWish {
  readonly model: string | undefined;
  readonly inputs: readonly Input[];
  readonly dimensions: number | undefined;
  readonly truncate: boolean;
  readonly keepAlive?: number | null | undefined;
}

export async function openaiEmbeddings(exchange: Exchange): Promise<void> {
  const { body } = exchange;
  const model = body.string("model", 256);
  const format = body.choice("encoding_format", ["float", "base64"] as const) ?? "float";
  const dimensions = body.integer("dimensions", { min: 1 });
  const inputs = readInputs(body, "input");
  const { vectors, nTokens, name } = await embed(exchange, { model, inputs, dimensions, truncate: false });
  exchange.sendJson({
    object: "list",
    data: vectors.map((vector, index) => ({
      object: "embedding",
      index,
      embedding: format === "base64" ? base64Of(vector) : Array.from(vector),
    })),
    model: model ?? name,
    usage: { prompt_tokens: nTokens, total_tokens: nTokens },
  });
}

export async function ollamaEmbed(exchange: Exchange): Promise<void> {
  const { body } = exchange;
  const start = performance.now();
  const model = body.requiredString("model");
  const { vectors, nTokens, loadMs } = await embed(exchange, {
    model,
    // Nothing to embed only loads the model.
    inputs: isNothing(body.raw("input")) ? [] : readInputs(body, "input"),
    dimensions: body.integer("dimensions", { min: 1 }),
    truncate: body.boolean("truncate") ?? true,
    keepAlive: readKeepAlive(body),
  });
  exchange.sendJson({
    model,
    embeddings: vectors.map((vector) => Array.from(vector)),
    total_duration: Math.round((performance.now() - start) * 1e6),
    load_duration: Math.round(loadMs * 1e6),
    prompt_eval_count: nTokens,
  });
}

/** The older form: one text, one embedding. */
export async function ollamaEmbeddings(exchange: Exchange): Promise<void> {
  const { body } = exchange;
  const prompt = body.string("prompt") ?? "";
  const { vectors } = await embed(exchange, {
    model: body.requiredString("model"),
    inputs: prompt === "" ? [] : [prompt],
    dimensions: undefined,
    truncate: true,
    keepAlive: readKeepAlive(body),
  });
  exchange.sendJson({ embedding: Array.from(vectors[0] ?? []) });
}

function isNothing(input: unknown): boolean {
  return input === undefined || input === "" || (Array.isArray(input) && input.length === 0);
}

function readInputs(body: Fields, name: string): Input[] {
  const value = body.raw(name);
  const isIds = (list: unknown): list is number[] =>
    Array.isArray(list) && list.length > 0 && list.every((id) => Number.isSafeInteger(id) && id >= 0);
  if (typeof value === "string") return [value];
  if (isIds(value)) return [value];
  const isList = Array.isArray(value) && value.length > 0 && value.length <= maxInputs;
  if (isList && value.every((each) => typeof each === "string" || isIds(each))) return value as Input[];
  throw invalid(body.path(name), `a text, token ids, or a list of at most ${maxInputs} of these`);
}

async function embed(
  exchange: Exchange,
  { model: name, inputs, dimensions, truncate, keepAlive }: EmbeddingWish,
): Promise<{ vectors: readonly Float32Array[]; nTokens: number; loadMs: number; name: string }> {
  const { settings, security } = exchange.serving;
  const nCharacters = inputs.reduce((sum, input) => sum + input.length, 0);
  checkPromptSize(nCharacters, settings);
  if (exchange.serving.models.adapter(name) !== undefined)
    throw new ServeError("NOT_SUPPORTED", "model: an adapter cannot embed; ask its model", {
      param: "model",
    });
  const lease = await exchange.start(name);
  if (keepAlive !== undefined) lease.keepAlive(keepAlive);
  const { model, loadMs } = lease;
  const none = { vectors: [], nTokens: 0, loadMs, name: lease.name };
  if (inputs.length === 0) return none;
  const size = model.info.embeddingSize ?? 0;
  if (dimensions !== undefined && dimensions > size)
    throw invalid("dimensions", `a whole number from 1 to ${size}`);
  const texts: (string | Int32Array)[] = [];
  for (const [index, input] of inputs.entries()) {
    if (input === "") throw invalid(`input[${index}]`, "a text that is not empty");
    if (typeof input === "string") {
      texts.push(security.input(exchange, input));
      continue;
    }
    const wrong = input.find((id) => id >= model.info.vocabSize);
    if (wrong !== undefined)
      throw invalid(`input[${index}]`, `token ids from 0 to ${model.info.vocabSize - 1}; it has ${wrong}`);
    texts.push(await screenIds(exchange, lease, Int32Array.from(input)));
  }
  await exchange.reserveTokens(Math.ceil(nCharacters / charactersPerToken) + inputs.length);
  const { embeddings, promptTokens } = await model.embed(texts, {
    truncate,
    cacheSalt: exchange.client.tenant,
    signal: exchange.signal,
    ...(dimensions === undefined ? {} : { dimensions }),
  });
  exchange.countTokens(promptTokens, 0);
  return { ...none, vectors: embeddings, nTokens: promptTokens };
}

/** Little-endian f32, as OpenAI's clients decode it. */
function base64Of(vector: Float32Array): string {
  const bytes = Buffer.alloc(4 * vector.length);
  for (const [i, value] of vector.entries()) bytes.writeFloatLE(value, 4 * i);
  return bytes.toString("base64");
}
