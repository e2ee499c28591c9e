/**
 * Writes trained side paths as others read them: a PEFT folder (Hugging Face) and a GGUF adapter (llama.cpp), both in f32 and with the
 * fingerprint of the base that they belong to.
 */

import { join } from "node:path";
import {
  adapterBaseFile,
  adapterBaseKey,
  BitNetError,
  type GgufValue,
  rowOrder,
  writeGguf,
} from "@bitnet.ts/core";
import { hfName } from "../export/tensor-names.ts";
import { makeFolder, writeJson, writeWhole } from "../export/write-file.ts";
import { safetensorsPieces } from "../export/write-safetensors.ts";
import type { BaseModel } from "../finetune/base-model.ts";
import type { Executor } from "../graph/executor.ts";
import type { LoraShape } from "../graph/transformer.ts";

interface Factor {
  /** `blk.0.attn_q` */
  projection: string;
  part: "a" | "b";
  shape: readonly number[];
  values: Float32Array;
}

function factorsOf({ graph, parameters }: Executor): Factor[] {
  if (graph.parameters.some(({ adapter }) => adapter !== undefined))
    throw new BitNetError(
      "INVALID_ARGUMENT",
      "an adapter that was trained through the ternariser is no side path: save the model that it is part of",
    );
  return graph.parameters.flatMap(({ name, shape, isFrozen }, id) => {
    const match = /^(.*)\.lora_([ab])$/.exec(name);
    if (isFrozen || match === null) return [];
    const values = Float32Array.from(parameters[id] ?? []);
    return [{ projection: match[1] ?? "", part: match[2] === "a" ? "a" : "b", shape, values }] as const;
  });
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** The name of a module in Hugging Face's models, such as `model.layers.0.self_attn.q_proj`. */
const moduleOf = (projection: string) => hfName(projection).replace(/\.weight$/, "");

/** @throws BitNetError IO_FAILED. */
export async function savePeftAdapter(
  folder: string,
  executor: Executor,
  lora: LoraShape,
  base: Pick<BaseModel, "name" | "fingerprint">,
): Promise<void> {
  const factors = factorsOf(executor);
  await makeFolder(folder);
  const tensors = factors.map(({ projection, part, shape, values }) => ({
    name: `base_model.model.${moduleOf(projection)}.lora_${part.toUpperCase()}.weight`,
    type: "F32" as const,
    shape,
    data: () => bytesOf(values),
  }));
  await writeWhole(
    join(folder, "adapter_model.safetensors"),
    safetensorsPieces(tensors, { format: "pt", base: base.fingerprint }),
  );
  await writeJson(join(folder, adapterBaseFile), { base: base.fingerprint, name: base.name });
  await writeJson(join(folder, "adapter_config.json"), {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: base.name,
    r: lora.rank,
    lora_alpha: lora.alpha,
    lora_dropout: lora.dropout,
    target_modules: lora.targets.map((target) => moduleOf(`blk.0.${target}`).split(".").at(-1)),
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    use_rslora: false,
    use_dora: false,
    modules_to_save: null,
    layers_to_transform: null,
    layers_pattern: null,
    rank_pattern: {},
    alpha_pattern: {},
  });
}

/** @throws BitNetError IO_FAILED. */
export async function saveGgufAdapter(
  path: string,
  executor: Executor,
  lora: LoraShape,
  base: Pick<BaseModel, "name" | "fingerprint" | "config">,
): Promise<void> {
  const { architecture, headDim, pairing } = base.config;
  const text = (value: string): GgufValue => ({ type: "string", value });
  const metadata = new Map<string, GgufValue>([
    ["general.type", text("adapter")],
    ["general.architecture", text(architecture)],
    ["general.name", text(`adapter of ${base.name}`)],
    ["adapter.type", text("lora")],
    ["adapter.lora.alpha", { type: "f32", value: lora.alpha }],
    [adapterBaseKey, text(base.fingerprint)],
  ]);
  // llama.cpp's files of Llama have the rows of queries and keys in another order.
  const ggufPairing = architecture === "llama" ? "adjacent" : "half";
  const tensors = factorsOf(executor).map(({ projection, part, shape, values }) => ({
    name: `${projection}.weight.lora_${part}`,
    shape,
    type: "f32" as const,
    data: () =>
      bytesOf(
        part === "b" && /attn_[qk]$/.test(projection)
          ? reordered(values, rowOrder(shape[0] ?? 0, headDim, pairing, ggufPairing))
          : values,
      ),
  }));
  await writeWhole(path, writeGguf({ metadata, tensors }));
}

function reordered(values: Float32Array, order: Int32Array): Float32Array {
  const cols = values.length / order.length;
  const out = new Float32Array(values.length);
  order.forEach((from, row) => {
    out.set(values.subarray(from * cols, (from + 1) * cols), row * cols);
  });
  return out;
}
