import { describe, expect, it } from "vitest";
import { bytesSource } from "../base/byte-source.ts";
import { byteStringsFrom } from "../base/byte-strings.ts";
import { BitNetError } from "../base/errors.ts";
import type { GgufValue } from "../formats/gguf/values.ts";
import { type GgufTensorInput, writeGguf } from "../formats/gguf/write-gguf.ts";
import { type ModelFiles, openModelFiles } from "../formats/model-files.ts";
import type { TensorInfo } from "../formats/tensor.ts";
import { bitnetB158 } from "./bitnet-b158.ts";
import { recordDecoder } from "./decoder.ts";
import {
  bindModel,
  countParameters,
  describeModel,
  listTensorTypes,
  type ModelDescription,
} from "./load-model.ts";
import type { ModelConfig } from "./model-config.ts";
import { readTokenizer } from "./tokenizer-source.ts";
import { ggufWeightName, hfWeightName } from "./weight-names.ts";

const config: ModelConfig = {
  architecture: "bitnet-b1.58",
  name: "small",
  hiddenSize: 8,
  ffnSize: 12,
  nLayers: 1,
  nHeads: 2,
  nKvHeads: 1,
  headDim: 4,
  contextLength: 16,
  vocabSize: 300,
  normEps: 1e-5,
  ropeTheta: 10000,
  ropeScaling: null,
  pairing: "half",
  activation: "relu2",
  isTied: null,
  hasHead: true,
  weightScale: "multiplies",
  floatsAreMasters: true,
  masters: "ternary",
  attentionScale: Math.fround(1 / Math.sqrt(4)),
  slidingWindow: null,
  activationGroup: null,
  embeddingScale: 1,
  residualScale: 1,
  headScale: 1,
  normShift: 0,
  hasInnerNorms: null,
  innerNormEps: 1e-5,
};

async function errorOf(action: () => unknown): Promise<BitNetError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof BitNetError) return error;
    throw error;
  }
  throw new Error("expected a failure");
}

/** All weights of `config` in f32, under the names of either format. */
function describedBy(weightName: (name: string) => string, hasHead: boolean): ModelDescription {
  const tensors = new Map<string, TensorInfo>();
  for (const buffer of recordDecoder(config, (name) => name === "output" && hasHead, bitnetB158.traits)
    .buffers) {
    if (buffer.class !== "request" || buffer.kind === "ropeTable") continue;
    const [name, byteLength] = [weightName(buffer.name), 4 * buffer.rows * buffer.cols];
    const source = bytesSource(new Uint8Array(byteLength), name);
    const shape = buffer.rows === 1 ? [buffer.cols] : [buffer.rows, buffer.cols];
    tensors.set(name, { name, shape, type: "f32", source, offset: 0, byteLength });
  }
  return {
    config,
    tensors,
    chatTemplate: null,
    defaultChatTemplate: "bitnet",
    weightName,
    floatsMayBeProducts: false,
  };
}

async function headOf(description: ModelDescription, isTied: boolean | null): Promise<string> {
  const program = await bindModel(description, { ...config, isTied });
  const op = program.ops.at(-1);
  return op?.op === "head" ? (program.buffers[op.table]?.name ?? "") : "none";
}

describe.each([
  ["GGUF", ggufWeightName, "output.weight"],
  ["Hugging Face", (name: string) => hfWeightName(bitnetB158, name, () => false), "lm_head.weight"],
] as const)("the head of a %s model", (_, weightName, fileName) => {
  it("is its own where there is one and the configuration does not tie it", async () => {
    const described = describedBy(weightName, true);
    expect(described.tensors.has(fileName)).toBe(true);
    expect(await headOf(described, null)).toBe("output");
    expect(await headOf(described, false)).toBe("output");
    expect(await headOf(described, true)).toBe("token_embd");
  });

  it("is the embedding where there is no other", async () => {
    const described = describedBy(weightName, false);
    expect(await headOf(described, null)).toBe("token_embd");
    expect(await headOf(described, true)).toBe("token_embd");
    const error = await errorOf(() => headOf(described, false));
    expect(error.code).toBe("MODEL_INVALID");
    expect(error.message).toMatch(`tensor "${fileName}" is missing, and the embedding is not tied`);
  });

  it("must have the shape of the embedding", async () => {
    const described = describedBy(weightName, true);
    const head = described.tensors.get(fileName);
    if (head === undefined) throw new Error("no head");
    const tensors = new Map([...described.tensors, [fileName, { ...head, shape: [299, 8] }]]);
    const error = await errorOf(() => headOf({ ...described, tensors }, null));
    expect(error.message).toBe(`tensor "${fileName}" is 299 × 8, but the configuration wants 300 × 8`);
  });
});

it("every weight that is missing is named", async () => {
  const described = describedBy(ggufWeightName, true);
  for (const name of described.tensors.keys()) {
    const tensors = new Map([...described.tensors].filter(([other]) => other !== name));
    const binding = () => bindModel({ ...described, tensors }, { ...config, isTied: false });
    expect((await errorOf(binding)).message).toMatch(`tensor "${name}" is missing`);
  }
});

it.each(["blk.0.attn_q.bias", "blk.0.attn_q_norm.weight", "blk.0.ffn_up.scale2"])(
  "%s, which no operation reads, is refused by name; what says nothing is not",
  async (name) => {
    const described = describedBy(ggufWeightName, true);
    const source = bytesSource(new Uint8Array(32), name);
    const extra = { name, shape: [8], type: "f32", source, offset: 0, byteLength: 32 } as const;
    const bindingOf = (extraName: string) => {
      const tensors = new Map([...described.tensors, [extraName, { ...extra, name: extraName }]]);
      return bindModel({ ...described, tensors }, { ...config, isTied: false });
    };
    const error = await errorOf(() => bindingOf(name));
    expect(error).toMatchObject({ code: "MODEL_INVALID", details: { tensors: [name], count: 1 } });
    expect(error.message).toContain(JSON.stringify(name));
    await bindingOf("model.layers.0.self_attn.rotary_emb.inv_freq");
  },
);

it("a shorter context has a shorter RoPE table", async () => {
  const program = await bindModel(describedBy(ggufWeightName, false), { ...config, contextLength: 5 });
  const table = program.buffers.find(({ name }) => name === "rope_table");
  expect(program.contextLength).toBe(5);
  expect(table).toMatchObject({ tensor: { rows: 5, cols: 4 } });
});

it("sums are of weights alone", () => {
  const info = (name: string, shape: number[], type: TensorInfo["type"], byteLength: number) =>
    [name, { name, shape, type, byteLength, offset: 0, source: bytesSource(new Uint8Array()) }] as const;
  const tensors = new Map<string, TensorInfo>([
    info("a.weight", [4, 6], "hf_u8", 6),
    info("a.weight_scale", [1], "bf16", 2),
    info("norm.weight", [5], "bf16", 10),
    info("x", [7], { unknown: "F64", reason: "" }, 56),
  ]);
  expect(countParameters(tensors)).toBe(24 + 5 + 7);
  expect(listTensorTypes(tensors)).toEqual(["bf16", "hf_u8"]);
});

/** A file that holds an embedding of so many rows and a vocabulary of so many tokens, and nothing else. */
async function opened(nTokens: number, embedding: GgufTensorInput | null): Promise<ModelFiles> {
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const bytes = Array.from({ length: 256 }, (_, byte) => {
    const isVisible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return isVisible ? byte : -1;
  });
  let next = 256;
  const tokens = bytes.map((byte) => String.fromCharCode(byte < 0 ? next++ : byte));
  for (let i = 256; i < nTokens; i++) tokens.push(`<|word${i}|>`);
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: "bitnet-25" }],
    ["bitnet-25.context_length", u32(16)],
    ["bitnet-25.embedding_length", u32(8)],
    ["bitnet-25.block_count", u32(1)],
    ["bitnet-25.feed_forward_length", u32(12)],
    ["bitnet-25.attention.head_count", u32(2)],
    ["bitnet-25.attention.layer_norm_rms_epsilon", { type: "f32", value: 2 ** -17 }],
    ["tokenizer.ggml.model", { type: "string", value: "gpt2" }],
    ["tokenizer.ggml.tokens", { type: "array", of: "string", value: byteStringsFrom(tokens) }],
    ["tokenizer.chat_template", { type: "string", value: "{{ messages }}" }],
  ]);
  const chunks: number[] = [];
  for await (const chunk of writeGguf({ metadata, tensors: embedding ? [embedding] : [] }))
    chunks.push(...chunk);
  return openModelFiles({ kind: "file", source: bytesSource(Uint8Array.from(chunks), "m.gguf") });
}

const embeddingOf = (...shape: number[]): GgufTensorInput => ({
  name: "token_embd.weight",
  shape,
  type: "f16",
  data: () => new Uint8Array(2 * shape.reduce((product, n) => product * n, 1)),
});

describe("a GGUF file", () => {
  it("is described by metadata and the rows of its embedding", async () => {
    const files = await opened(256, embeddingOf(270, 8));
    const described = describeModel(files, "m.gguf");
    expect(described).toMatchObject({ chatTemplate: "{{ messages }}", floatsMayBeProducts: true });
    expect(described.config).toMatchObject({ vocabSize: 270, nKvHeads: 2, headDim: 4, name: "m.gguf" });
    expect(described.weightName("blk.7.attn_q")).toBe("blk.7.attn_q.weight");
  });

  it("without an embedding says so", async () => {
    const files = await opened(256, null);
    const error = await errorOf(() => describeModel(files, "m.gguf"));
    expect(error.message).toBe('m.gguf: the configuration is invalid: tensor "token_embd.weight" is missing');
  });

  it("may have more embeddings than tokens, not fewer", async () => {
    const tokenizerFor = async (nTokens: number, rows: number) => {
      const files = await opened(nTokens, embeddingOf(rows, 8));
      return readTokenizer(files, describeModel(files, "m.gguf").config);
    };
    expect((await tokenizerFor(257, 300)).vocabSize).toBe(257);
    expect((await tokenizerFor(300, 300)).vocabSize).toBe(300);
    const error = await errorOf(() => tokenizerFor(301, 300));
    expect(error.code).toBe("MODEL_INVALID");
    expect(error.message).toBe("the tokenizer has 301 tokens, but the model only 300 embeddings");
  });

  it("of packed weights needs to say what their scale means", () => {
    const { tensors } = describedBy((name) => hfWeightName(bitnetB158, name, () => false), false);
    const [first] = tensors.keys();
    const packed = new Map(tensors);
    const tensor = packed.get(first ?? "");
    if (tensor !== undefined) packed.set(tensor.name, { ...tensor, type: "hf_u8" });
    const json = {
      ...{
        architectures: ["BitNetForCausalLM"],
        hidden_size: 8,
        num_attention_heads: 2,
        intermediate_size: 12,
      },
      ...{ num_hidden_layers: 1, num_key_value_heads: 1, max_position_embeddings: 16, vocab_size: 8 },
    };
    const files = {
      kind: "hf",
      config: json,
      tokenizerJson: {},
      tensors: packed,
      close: async () => {},
    } as const;
    expect(() => describeModel(files, "m")).toThrowError(/is packed, but there is no quantization_config/);
    const told = { ...files, config: { ...json, quantization_config: { quant_method: "bitnet" } } };
    expect(describeModel(told, "m").config.weightScale).toBe("divides");
  });
});
