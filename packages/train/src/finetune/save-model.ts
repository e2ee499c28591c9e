/**
 * Writes a fully fine-tuned model: as a GGUF file with the very trits of training, and as a packed Hugging Face folder, both by way of
 * conversion from the base's files with the trained weights in place of theirs, so that tokenizer, template and names are the base's.
 */
import { join } from "node:path";
import {
  BitNetError,
  bytesSource,
  type ModelFiles,
  packings,
  planConversion,
  type TensorInfo,
} from "@bitnet.ts/core";
import { makeFolder, writeWhole } from "../export/write-file.ts";
import type { Executor } from "../graph/executor.ts";
import type { Floats } from "../kernels/kernels.ts";
import type { BaseModel } from "./base-model.ts";

export interface SavedModel {
  gguf: string;
  bytes: number;
  /** Null with the reason where the base's tokenizer cannot be written in Hugging Face's form. */
  huggingFace: string | null;
  reason: string | null;
}

/** @throws BitNetError IO_FAILED; as `planConversion`. */
export async function saveModel(
  folder: string,
  executor: Executor,
  base: BaseModel,
  embeddings: "f16" | "f32",
): Promise<SavedModel> {
  const gguf = join(folder, "model.gguf");
  const options = { force: true, ...(embeddings === "f16" ? { embeddings } : {}) };
  const plan = await planConversion(withWeights(executor, base), base.name, "i2_s", options);
  await makeFolder(folder);
  const { bytes } = await writeWhole(gguf, plan.files[0]?.pieces ?? []);
  const huggingFace = join(folder, "huggingface");
  try {
    const packed = await planConversion(withWeights(executor, base), base.name, "hf-packed", options);
    await makeFolder(huggingFace);
    for (const { name, pieces } of packed.files) await writeWhole(join(huggingFace, name ?? "model"), pieces);
    return { gguf, bytes, huggingFace, reason: null };
  } catch (error) {
    if (!(error instanceof BitNetError) || !/^(FORMAT|MODEL)_UNSUPPORTED$/.test(error.code)) throw error;
    return { gguf, bytes, huggingFace: null, reason: error.message };
  }
}

/** The base's files with the executor's weights: trits and scales in I2_S, dense ones in f32; side paths are left out. */
function withWeights(executor: Executor, { files, description }: BaseModel): ModelFiles {
  const tensors = new Map<string, TensorInfo>();
  executor.graph.parameters.forEach(({ name, shape, form }, id) => {
    if (/\.lora_[ab]$/.test(name)) return;
    const fileName = description.weightName(name);
    const type = form === "float" ? "f32" : "i2_s";
    const bytes =
      type === "i2_s" ? packed(executor, id, shape) : floatBytes(executor.parameters[id] as Floats);
    const source = bytesSource(bytes, fileName);
    tensors.set(fileName, { name: fileName, shape, type, source, offset: 0, byteLength: bytes.length });
  });
  const close = async () => {};
  return files.kind === "gguf"
    ? { kind: "gguf", gguf: { ...files.gguf, metadata: files.gguf.metadata, tensors, close }, close }
    : { ...files, tensors, close };
}

function packed(executor: Executor, id: number, [rows = 0, cols = 0]: readonly number[]): Uint8Array {
  const { weights, scale } = executor.formed(id);
  return packings.i2_s.pack(Int8Array.from(weights), { rows, cols }, { kind: "tensor", value: scale });
}

function floatBytes(floats: Floats): Uint8Array {
  return new Uint8Array(Float32Array.from(floats).buffer);
}
