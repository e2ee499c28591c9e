/** A folder of bf16 masters in shards, of the Llama shape, written when it is first needed beside the dummy models: what converting is measured on. */
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder, repository } from "./models.ts";

export interface MastersShape {
  name: string;
  hidden: number;
  ffn: number;
  layers: number;
  heads: number;
  kvHeads: number;
  vocab: number;
  shards: number;
}

/** Llama3-8B-1.58's, and a small one. */
export const mastersShapes = {
  "8b": { hidden: 4096, ffn: 14336, heads: 32, kvHeads: 8, vocab: 128256 },
  small: { hidden: 512, ffn: 1024, heads: 8, kvHeads: 4, vocab: 4096 },
} as const;

/** Path of the folder. The same bits each time: normally distributed weights, of which all tensors hold the same run from different places on. */
export async function ensureMasters(shape: MastersShape): Promise<string> {
  const folder = join(cacheFolder(), `masters-${shape.name}-${shape.layers}-layers`);
  if (existsSync(folder)) return folder;
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part);
  const tokenizer = join(repository, "test/golden/hf-bf16/tokenizer.json");
  copyFileSync(tokenizer, join(part, "tokenizer.json"));
  writeFileSync(join(part, "config.json"), JSON.stringify(configOf(shape)));
  const tensors = tensorsOf(shape);
  const perShard = Math.ceil(tensors.length / shape.shards);
  const weights = randomBf16(2 ** 22);
  for (let shard = 0; shard < shape.shards; shard++) {
    const number = (n: number) => String(n).padStart(5, "0");
    const file = await open(
      join(part, `model-${number(shard + 1)}-of-${number(shape.shards)}.safetensors`),
      "w",
    );
    await writeShard(file, tensors.slice(shard * perShard, (shard + 1) * perShard), weights);
    await file.close();
  }
  renameSync(part, folder);
  return folder;
}

function configOf({ hidden, ffn, layers, heads, kvHeads, vocab }: MastersShape): object {
  return {
    architectures: ["LlamaForCausalLM"],
    ...{ model_type: "llama", hidden_act: "silu", hidden_size: hidden, intermediate_size: ffn },
    ...{ num_hidden_layers: layers, num_attention_heads: heads, num_key_value_heads: kvHeads },
    ...{ max_position_embeddings: 8192, rms_norm_eps: 1e-5, rope_theta: 500000, vocab_size: vocab },
    ...{ tie_word_embeddings: false, torch_dtype: "bfloat16" },
    quantization_config: {
      quant_method: "bitnet",
      ...{ linear_class: "autobitlinear", quantization_mode: "online" },
    },
  };
}

type Tensor = [name: string, shape: number[]];

function tensorsOf({ hidden, ffn, layers, heads, kvHeads, vocab }: MastersShape): Tensor[] {
  const keys = (hidden / heads) * kvHeads;
  const layer = (l: number): Tensor[] => {
    const at = (name: string) => `model.layers.${l}.${name}.weight`;
    return [
      [at("input_layernorm"), [hidden]],
      [at("self_attn.q_proj"), [hidden, hidden]],
      [at("self_attn.k_proj"), [keys, hidden]],
      [at("self_attn.v_proj"), [keys, hidden]],
      [at("self_attn.o_proj"), [hidden, hidden]],
      [at("post_attention_layernorm"), [hidden]],
      [at("mlp.gate_proj"), [ffn, hidden]],
      [at("mlp.up_proj"), [ffn, hidden]],
      [at("mlp.down_proj"), [hidden, ffn]],
    ];
  };
  return [
    ["model.embed_tokens.weight", [vocab, hidden]],
    ...Array.from({ length: layers }, (_, l) => layer(l)).flat(),
    ["model.norm.weight", [hidden]],
    ["lm_head.weight", [vocab, hidden]],
  ];
}

async function writeShard(file: FileHandle, tensors: readonly Tensor[], weights: Uint8Array): Promise<void> {
  let end = 0;
  const entries = tensors.map(([name, shape]) => {
    const begin = end;
    end += 2 * shape.reduce((product, n) => product * n, 1);
    return [name, { dtype: "BF16", shape, data_offsets: [begin, end] }] as const;
  });
  const json = JSON.stringify(Object.fromEntries(entries));
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, " ");
  header.writeBigUInt64LE(BigInt(header.length - 8));
  header.write(json, 8);
  await file.writeFile(header);
  for (const [i, [, { data_offsets: range }]] of entries.entries()) {
    const [begin = 0, stop = 0] = range;
    for (let at = begin, from = (i * 4096) % weights.length; at < stop; from = 0) {
      const piece = weights.subarray(from, from + Math.min(weights.length - from, stop - at));
      await file.writeFile(piece);
      at += piece.length;
    }
  }
}

/** Sums of twelve uniform numbers less 6, times 0.02. */
function randomBf16(count: number): Uint8Array {
  const values = new Float32Array(count);
  let state = 1;
  for (let i = 0; i < count; i++) {
    let sum = -6;
    for (let k = 0; k < 12; k++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      sum += state / 2 ** 32;
    }
    values[i] = 0.02 * sum;
  }
  const bits = new Uint32Array(values.buffer);
  return new Uint8Array(Uint16Array.from(bits, (word) => word >>> 16).buffer);
}
