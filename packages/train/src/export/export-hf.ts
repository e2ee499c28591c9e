/**
 * Writes a trained model as a Hugging Face folder with bf16 master weights, which the loader ternarises (`quantization_mode: online`).
 * Rounding masters to bf16 can move a weight across a threshold; the GGUF file has the very trits.
 */
import { join } from "node:path";
import { BitNetError, f32ToBf16 } from "@bitnet.ts/core";
import type { Executor } from "../graph/executor.ts";
import type { TransformerShape } from "../graph/transformer.ts";
import type { Floats } from "../kernels/kernels.ts";
import type { TokenizerFiles } from "../tokenizer/tokenizer-files.ts";
import { hfName } from "./tensor-names.ts";
import { makeFolder, writeJson, writeWhole } from "./write-file.ts";
import { safetensorsPieces } from "./write-safetensors.ts";

/** @throws BitNetError IO_FAILED; INVALID_ARGUMENT for binary weights, which loaders of masters would make ternary. */
export async function exportHf(
  folder: string,
  executor: Executor,
  shape: TransformerShape,
  tokenizer: TokenizerFiles,
): Promise<void> {
  if (shape.form === "b1")
    throw new BitNetError(
      "INVALID_ARGUMENT",
      "export: binary weights have no Hugging Face form that loaders know; export GGUF",
    );
  await makeFolder(folder);
  const tensors = executor.graph.parameters.map((parameter, id) => ({
    name: hfName(parameter.name),
    type: "BF16" as const,
    shape: parameter.shape,
    data: () => bf16Bytes(executor.parameters[id] as Floats),
  }));
  await writeWhole(join(folder, "model.safetensors"), safetensorsPieces(tensors, { format: "pt" }));
  await writeJson(join(folder, "tokenizer.json"), tokenizer.tokenizer);
  await writeJson(join(folder, "tokenizer_config.json"), tokenizer.config);
  await writeJson(join(folder, "config.json"), hfConfig(shape));
}

function hfConfig(shape: TransformerShape): unknown {
  const quantization =
    shape.form === "float"
      ? {}
      : {
          quantization_config: {
            quant_method: "bitnet",
            linear_class: "autobitlinear",
            quantization_mode: "online",
          },
        };
  return {
    architectures: [shape.hasSubNorms ? "BitNetForCausalLM" : "LlamaForCausalLM"],
    model_type: shape.hasSubNorms ? "bitnet" : "llama",
    hidden_size: shape.hiddenSize,
    intermediate_size: shape.ffnSize,
    num_hidden_layers: shape.nLayers,
    num_attention_heads: shape.nHeads,
    num_key_value_heads: shape.nKvHeads,
    head_dim: shape.headDim,
    hidden_act: shape.activation,
    max_position_embeddings: shape.contextLength,
    vocab_size: shape.vocabSize,
    rms_norm_eps: shape.normEps,
    rope_theta: shape.ropeTheta,
    tie_word_embeddings: shape.isTied,
    torch_dtype: "bfloat16",
    ...quantization,
  };
}

function bf16Bytes(floats: Floats): Uint8Array {
  const words = new Uint16Array(floats.length);
  for (let i = 0; i < words.length; i++) words[i] = f32ToBf16(floats[i] ?? 0);
  return new Uint8Array(words.buffer);
}
