/** Folders as people have them: what a configuration leaves out or says in another place, and types that are refused by name. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bindModel, describeModel, openModelFiles, planConversion } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hfFiles, type StoredTensor, safetensors } from "./checkpoint-hf.ts";
import { bitsOf, logitsOf } from "./checkpoint-run.ts";
import {
  type Checkpoint,
  type CheckpointShape,
  randomCheckpoint,
  randomTokens,
} from "./random-checkpoint.ts";
import { reference } from "./tiny-model.ts";

const common = {
  ...({ context: 64, theta: 10000, eps: 1e-6, tokens: 260, isTied: false, embeddingBits: 8 } as const),
  ...{ hidden: 64, ffn: 96, layers: 2, heads: 4, kvHeads: 2, headDim: 16, vocab: 260 },
} as const;
const llama: CheckpointShape = { ...common, family: "llama" };
const gemma: CheckpointShape = {
  ...common,
  ...{ family: "gemma3", isTied: true, theta: 1e6, window: { size: 3, pattern: 2, theta: 500 } },
};

type Config = Record<string, unknown>;

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-edges-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function write(
  checkpoint: Checkpoint,
  config: Config = {},
  retype: (name: string) => string | null = () => null,
): Promise<string> {
  const place = await mkdtemp(join(folder, "model-"));
  for (const [name, bytes] of hfFiles(checkpoint, { ternary: "multiplies", floats: "bf16", config }))
    await writeFile(join(place, name), name.endsWith(".safetensors") ? retyped(bytes, retype) : bytes);
  return place;
}

/** The same file with other types; data of what is retyped is zeros of the right length. */
function retyped(file: Uint8Array, typeOf: (name: string) => string | null): Uint8Array {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  const data = file.subarray(8 + length);
  const sizes: Record<string, number> = { F64: 8, F8_E4M3: 1, I8: 1, F32: 4, BF16: 2, U8: 1, F16: 2 };
  const tensors = new Map<string, StoredTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries<Config & { shape: number[] }>(header)) {
    if (name === "__metadata__") continue;
    const [begin = 0, end = 0] = data_offsets as number[];
    const other = typeOf(name);
    const count = shape.reduce((product, n) => product * n, 1);
    const bytes = other === null ? data.subarray(begin, end) : new Uint8Array(count * (sizes[other] ?? 1));
    tensors.set(name, { dtype: other ?? String(dtype), shape, bytes });
  }
  return safetensors(tensors);
}

async function bits(path: string, checkpoint: Checkpoint): Promise<string[]> {
  const files = await openModelFiles(await openPath(path));
  try {
    const model = describeModel(files, "model");
    const program = await bindModel(model, model.config);
    return bitsOf(await logitsOf(reference(), program, randomTokens(checkpoint, 8, 3), 6));
  } finally {
    await files.close();
  }
}

describe("a configuration may", () => {
  const cases: [string, CheckpointShape, Config][] = [
    ["leave out what the heads are", llama, { head_dim: undefined }],
    ["say nothing of ties", llama, { tie_word_embeddings: undefined }],
    ["say null for what is usual", llama, { head_dim: null, rope_scaling: null, attention_bias: false }],
    [
      "keep θ among the parameters of rotations",
      llama,
      { rope_theta: undefined, rope_parameters: { rope_type: "default", rope_theta: 10000 } },
    ],
    [
      "keep θ where rotations are scaled, in either name's place",
      llama,
      {
        rope_theta: undefined,
        rope_scaling: undefined,
        rope_parameters: { rope_type: "linear", factor: 1, rope_theta: 10000 },
      },
    ],
    [
      "name the type in the newer way",
      llama,
      { torch_dtype: undefined, dtype: "bfloat16", transformers_version: "5.0.0" },
    ],
    [
      "list modules that are no ternary ones",
      llama,
      {
        quantization_config: {
          quant_method: "bitnet",
          linear_class: "autobitlinear",
          quantization_mode: "offline",
          modules_to_not_convert: ["lm_head"],
          use_rms_norm: false,
          rms_norm_eps: 1e-6,
        },
      },
    ],
    [
      "keep rotations for each kind of layer",
      gemma,
      {
        rope_theta: undefined,
        rope_local_base_freq: undefined,
        rope_parameters: {
          full_attention: { rope_type: "default", rope_theta: 1e6 },
          sliding_attention: { rope_type: "default", rope_theta: 500 },
        },
      },
    ],
  ];
  it.each(cases)("%s", async (_, shape, config) => {
    const checkpoint = randomCheckpoint(shape, 5);
    expect(await bits(await write(checkpoint, config), checkpoint)).toEqual(
      await bits(await write(checkpoint), checkpoint),
    );
  });

  it("not scale the rotations of layers with a window", async () => {
    const checkpoint = randomCheckpoint(gemma, 5);
    const rope_parameters = {
      full_attention: { rope_type: "default", rope_theta: 1e6 },
      sliding_attention: { rope_type: "linear", factor: 2, rope_theta: 500 },
    };
    const path = await write(checkpoint, { rope_theta: undefined, rope_parameters });
    await expect(bits(path, checkpoint)).rejects.toThrow(
      'rope_parameters.sliding_attention of type "linear" is not supported',
    );
  });
});

describe("what nothing here computes with is refused by name", () => {
  const checkpoint = randomCheckpoint(llama, 5);
  it.each([
    ["F64 norms", "model.norm.weight", "F64", /"model\.norm\.weight" is of F64, which is not read here/],
    ["F8 embeddings", "model.embed_tokens.weight", "F8_E4M3", /"model\.embed_tokens\.weight" is of F8_E4M3/],
    [
      "weights in I8",
      "model.layers.1.mlp.up_proj.weight",
      "I8",
      /"model\.layers\.1\.mlp\.up_proj\.weight" is 24 × 64/,
    ],
    ["embeddings in I8", "model.embed_tokens.weight", "I8", /is stored as i8, expected one of f32/],
  ])("%s", async (_, tensor, dtype, message) => {
    const path = await write(checkpoint, {}, (name) => (name === tensor ? dtype : null));
    await expect(bits(path, checkpoint)).rejects.toThrow(message);
  });

  it("a head that is missing and not tied", async () => {
    const tied = randomCheckpoint({ ...llama, isTied: true }, 5);
    const path = await write(tied, { tie_word_embeddings: undefined });
    await expect(bits(path, tied)).rejects.toThrow(
      /"lm_head\.weight" is missing, and the embedding is not tied/,
    );
  });
});

it("a folder made of a folder says the type under the name that its source had", async () => {
  const checkpoint = randomCheckpoint(llama, 5);
  const quantization_config = {
    ...{ quant_method: "bitnet", linear_class: "autobitlinear", quantization_mode: "offline" },
    rms_norm_eps: 1e-4,
  };
  for (const [config, expected] of [
    [{ dtype: "float32" }, { dtype: "bfloat16", torch_dtype: undefined }],
    [{ torch_dtype: "float32" }, { dtype: undefined, torch_dtype: "bfloat16" }],
    [{}, { dtype: undefined, torch_dtype: "bfloat16" }],
  ] as const) {
    const path = await write(checkpoint, { ...config, quantization_config });
    const files = await openModelFiles(await openPath(path));
    const { files: made } = await planConversion(files, "model", "hf-bf16");
    let text = "";
    for await (const piece of made.find(({ name }) => name === "config.json")?.pieces ?? [])
      text += new TextDecoder().decode(piece);
    await files.close();
    const json = JSON.parse(text);
    expect({ dtype: json.dtype, torch_dtype: json.torch_dtype }).toEqual(expected);
    expect(json.quantization_config).toEqual({
      ...quantization_config,
      quantization_mode: "online",
    });
    const original = JSON.parse(await readFile(join(path, "config.json"), "utf8"));
    expect(json.hidden_size).toBe(original.hidden_size);
  }
});
