/** Readers of models and what belongs to them: GGUF, Hugging Face folders, tokenizers, chat templates, adapters. All work in memory. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import {
  type ByteSource,
  bindModel,
  byteStringsFrom,
  bytesSource,
  type ChatMessage,
  chatTemplateFor,
  describeModel,
  encodeChat,
  type FileRoot,
  type GgufTensorInput,
  type GgufValue,
  type ModelConfig,
  openAdapter,
  openModelFiles,
  planConversion,
  readEmbeddingModules,
  readTokenizer,
  type Tokenizer,
  tokenizerFromJson,
  writeGguf,
} from "@bitnet.ts/core";
import { compileChatTemplate } from "#core/tokenizer/chat-template.ts";
import { ggufTokenizerFields, tokenizerFromGguf } from "#core/tokenizer/from-gguf.ts";
import { byteVocabulary } from "../byte-vocabulary.ts";
import { ggufBytes } from "../checkpoint-gguf.ts";
import { hfFiles, safetensors } from "../checkpoint-hf.ts";
import { type CheckpointShape, randomCheckpoint } from "../random-checkpoint.ts";
import { otherBytes, otherJson, otherTemplate, pick, type Random } from "./mutants.ts";
import type { Files, FuzzedReader } from "./reader.ts";

const shape: CheckpointShape = {
  family: "bitnet-b1.58",
  ...{ hidden: 64, ffn: 96, layers: 1, heads: 2, kvHeads: 1, headDim: 32, vocab: 270, tokens: 265 },
  ...{ context: 64, theta: 10000, eps: 1e-5, isTied: true, embeddingBits: 8 },
};
const checkpoint = randomCheckpoint(shape, 17);
const golden = (name: string) => new URL(`../golden/${name}`, import.meta.url);
const goldenJson = (name: string): unknown =>
  JSON.parse(gunzipSync(readFileSync(golden(`tokenizers/${name}.json.gz`))).toString());

const messages: readonly ChatMessage[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "  Hello <|eot_id|> \n" },
  { role: "assistant", content: "Hi!" },
  { role: "user", content: "Bye <b>&\"'" },
];
const texts = [
  "",
  " a  b\n\nc",
  "Hello, wörld 漢字 🙂 1234567 <|eot_id|>",
  "\u0000\u001b[31m\ud800",
  "e".repeat(300),
];

/** Reads no more than a reader of the whole file may: some times its bytes. */
function metered(bytes: Uint8Array, name: string): ByteSource {
  let left = 32 * bytes.length + 2 ** 16;
  const source = bytesSource(bytes, name);
  return {
    ...source,
    read(offset, length) {
      left -= length;
      if (left < 0) throw new Error(`${name}: far more was read than its ${bytes.length} bytes`);
      return source.read(offset, length);
    },
  };
}

function folderOf(files: Files): FileRoot {
  return {
    kind: "folder",
    name: "mutant",
    async open(name) {
      const bytes = files.get(name);
      return bytes === undefined ? null : metered(bytes, name);
    },
  };
}

function fileOf(files: Files): FileRoot {
  return { kind: "file", source: metered(files.get("model.gguf") ?? new Uint8Array(), "model.gguf") };
}

/** Both ways, so that tables and lists of tokens are walked. */
function useTokenizer(tokenizer: Tokenizer): void {
  for (const text of texts)
    tokenizer.decode(tokenizer.encode(text, { bos: tokenizer.bosId !== null, special: true }));
}

/** All that loading a model does but for computing; and its conversion, to the first pieces. */
async function openModel(root: FileRoot): Promise<void> {
  const files = await openModelFiles(root);
  const model = describeModel(files, "mutant");
  const tokenizer = readTokenizer(files, model.config);
  useTokenizer(tokenizer);
  await readEmbeddingModules(files, model).catch(passBitNetError);
  await bindModel(model, model.config).catch(passBitNetError);
  const target = files.kind === "gguf" ? "hf-packed" : "i2_s";
  const planned = await planConversion(files, "mutant", target).catch(passBitNetError);
  for (const { pieces } of planned?.files ?? []) {
    try {
      for await (const piece of pieces) void piece;
    } catch (error) {
      passBitNetError(error);
    }
  }
  const template = chatTemplateFor(model.chatTemplate, "mutant", model.defaultChatTemplate, tokenizer);
  encodeChat(tokenizer, template, messages, { addGenerationPrompt: true });
  await files.close();
}

/** What one part refuses another may take. */
function passBitNetError(error: unknown): void {
  if (!(error instanceof Error) || !("code" in error) || error.constructor.name !== "BitNetError")
    throw error;
}

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("utf8");
const latin = (value: string) => Buffer.from(value, "utf8");

/** One of the folder's files damaged: JSON by its members, weights by the header's. */
function otherFile(files: Files, random: Random): Files {
  const name = pick([...files.keys()], random);
  const bytes = files.get(name) ?? new Uint8Array();
  const way = random() % 12;
  if (way === 0) return new Map([...files].filter(([each]) => each !== name));
  return new Map(files).set(
    name,
    name.endsWith(".json") ? latin(otherJson(text(bytes), random)) : otherWeights(bytes, random),
  );
}

function otherWeights(file: Uint8Array, random: Random): Uint8Array {
  const length = Number(Buffer.from(file).readBigUInt64LE());
  if (random() % 3 === 0) return otherBytes(file, random, 8 + length);
  const header = latin(otherJson(text(file.subarray(8, 8 + length)), random));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([prefix, header, file.subarray(8 + length)]);
}

const templates = JSON.parse(readFileSync(golden("templates/pairs.json"), "utf8")) as {
  models: Record<string, { source: string }>;
  expressions: { source: string }[];
  variables: Record<string, unknown>;
};
const templateSources = [
  ...Object.values(templates.models).map(({ source }) => source),
  ...templates.expressions.map(({ source }) => source),
];

const folders: readonly Files[] = (["multiplies", "masters"] as const).map((ternary, i) => {
  const files = hfFiles(checkpoint, { ternary, floats: "bf16", shards: 1 + i });
  files.set(
    "tokenizer_config.json",
    json({ bos_token: "<|begin_of_text|>", chat_template: templateSources[i] }),
  );
  files.set(
    "modules.json",
    json([{ idx: 0, name: "0", path: "1_Pooling", type: "sentence_transformers.models.Pooling" }]),
  );
  files.set("1_Pooling/config.json", json({ word_embedding_dimension: 64, pooling_mode_mean_tokens: true }));
  return files;
});

const ggufs = await Promise.all([
  ggufBytes(checkpoint, { ternary: { kind: "packed", packing: "i2_s" } }),
  ggufBytes(checkpoint, { ternary: { kind: "masters", type: "f16" }, embedding: "q8_0" }),
]);

const tokenizers = goldenJson("tokenizers") as Record<string, unknown>;
const tokenizerTexts = Object.values(tokenizers).map((value) => JSON.stringify(value));
const { sentencePiece } = goldenJson("pairs") as {
  sentencePiece: { models: Record<string, { tokens: string[]; scores: number[]; types: number[] }> };
};
const bytesOnly = byteVocabulary(300);
const ggufFields = [
  ...Object.values(sentencePiece.models).map(({ tokens, scores, types }) => ({
    ...{
      model: "llama",
      tokens,
      scores,
      token_type: types,
      bos_token_id: 1,
      eos_token_id: 2,
      add_space_prefix: true,
    },
  })),
  {
    ...{ model: "gpt2", pre: "llama-bpe", tokens: bytesOnly.tokens, merges: bytesOnly.merges },
    ...{
      token_type: bytesOnly.tokens.map(() => 1),
      bos_token_id: 297,
      eos_token_id: 298,
      add_bos_token: true,
    },
  },
].map((fields) => JSON.stringify(fields));

const config = await (async (): Promise<ModelConfig> => {
  const files = await openModelFiles(folderOf(folders[0] ?? new Map()));
  return describeModel(files, "base").config;
})();

const f32 = (rows: number, cols: number) => ({
  shape: [rows, cols],
  bytes: new Uint8Array(new Float32Array(rows * cols).fill(0.01).buffer),
});
const loraFolder: Files = new Map([
  [
    "adapter_config.json",
    json({ peft_type: "LORA", r: 4, lora_alpha: 8, target_modules: ["q_proj"], bias: "none" }),
  ],
  ["bitnet-base.json", json({ base: "0".repeat(16) })],
  [
    "adapter_model.safetensors",
    safetensors(
      new Map([
        ["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", { dtype: "F32", ...f32(4, 64) }],
        ["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", { dtype: "F32", ...f32(64, 4) }],
      ]),
    ),
  ],
]);
const loraGguf = await (async () => {
  const say = (value: string): GgufValue => ({ type: "string", value });
  const tensor = (name: string, rows: number, cols: number): GgufTensorInput => ({
    name,
    type: "f32",
    shape: [rows, cols],
    data: () => f32(rows, cols).bytes,
  });
  const metadata = new Map<string, GgufValue>([
    ["general.type", say("adapter")],
    ["adapter.type", say("lora")],
    ["general.architecture", say("bitnet-b1.58")],
    ["adapter.lora.alpha", { type: "f32", value: 8 }],
  ]);
  const tensors = [tensor("blk.0.attn_q.weight.lora_a", 4, 64), tensor("blk.0.attn_q.weight.lora_b", 64, 4)];
  const pieces: Uint8Array[] = [];
  for await (const piece of writeGguf({ metadata, tensors })) pieces.push(piece.slice());
  return Buffer.concat(pieces);
})();

async function openLora(root: FileRoot): Promise<void> {
  await (await openAdapter(root, config)).close();
}

/** As GGUF metadata holds them: lists of texts as byte strings, lists of numbers as typed arrays. */
function ggufValue(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  if (value.length > 0 && value.every((each) => typeof each === "string"))
    return byteStringsFrom(value as string[]);
  return value.every((each) => Number.isInteger(each)) ? Int32Array.from(value as number[]) : value;
}

const headerBytes = 8192;

export const modelReaders: readonly FuzzedReader[] = [
  {
    name: "GGUF",
    rounds: 120,
    mutant: (random) => new Map([["model.gguf", otherBytes(pick(ggufs, random), random, headerBytes)]]),
    read: (files) => openModel(fileOf(files)),
  },
  {
    name: "Hugging Face folder",
    rounds: 120,
    mutant: (random) => otherFile(pick(folders, random), random),
    read: (files) => openModel(folderOf(files)),
  },
  {
    name: "tokenizer.json",
    rounds: 80,
    mutant: (random) => new Map([["tokenizer.json", latin(otherJson(pick(tokenizerTexts, random), random))]]),
    read(files) {
      useTokenizer(tokenizerFromJson({ tokenizer: parsed(text(files.get("tokenizer.json"))) }));
    },
  },
  {
    name: "tokenizer in GGUF",
    rounds: 150,
    mutant: (random) => new Map([["fields.json", latin(otherJson(pick(ggufFields, random), random))]]),
    read(files) {
      const fields = Object(parsed(text(files.get("fields.json")))) as Record<string, unknown>;
      const get = (key: string) => ggufValue(fields[key.replace("tokenizer.ggml.", "")]);
      useTokenizer(tokenizerFromGguf(ggufTokenizerFields({ get })));
    },
  },
  {
    name: "chat template",
    rounds: 800,
    mutant: (random) => new Map([["template.jinja", latin(otherTemplate(templateSources, random))]]),
    read(files) {
      const template = compileChatTemplate(text(files.get("template.jinja")), "mutant");
      const { messages: _, ...variables } = templates.variables;
      template.render({
        ...{ messages, addGenerationPrompt: true, bosToken: "<s>", eosToken: "</s>", arguments: variables },
        ...{ tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }] },
        now: new Date(0),
      });
    },
  },
  {
    name: "adapter in GGUF",
    rounds: 200,
    mutant: (random) => new Map([["model.gguf", otherBytes(loraGguf, random, 600)]]),
    read: (files) => openLora(fileOf(files)),
  },
  {
    name: "adapter of PEFT",
    rounds: 200,
    mutant: (random) => otherFile(loraFolder, random),
    read: (files) => openLora(folderOf(files)),
  },
];

/** What is no JSON is refused before a tokenizer sees it; here it is a text. */
function parsed(source: string): unknown {
  try {
    return JSON.parse(source);
  } catch {
    return source;
  }
}
