/** The families that there are. */
import { bitnet } from "./bitnet.ts";
import { bitnetB158 } from "./bitnet-b158.ts";
import type { Family } from "./family.ts";
import { gemma3 } from "./gemma3.ts";
import { llama } from "./llama.ts";
import { minicpm } from "./minicpm.ts";
import type { ModelConfig } from "./model-config.ts";
import { qwen2, qwen3 } from "./qwen.ts";

const families: Readonly<Record<ModelConfig["architecture"], Family>> = {
  "bitnet-b1.58": bitnetB158,
  bitnet,
  llama,
  qwen2,
  qwen3,
  gemma3,
  minicpm,
};

export function familyOf({ architecture }: Pick<ModelConfig, "architecture">): Family {
  return families[architecture];
}

const all = Object.values(families);

/** Names that files of either kind may give their architecture. */
export const knownArchitectures = {
  gguf: all.flatMap(({ gguf }) => gguf),
  hf: all.flatMap(({ hf }) => hf),
} as const;

/** Architectures that ternary models have and that are not read yet, with what they need. */
export const plannedArchitectures: ReadonlyMap<string, string> = new Map([
  ["qwen35", "gated DeltaNet layers and rotated weights (Bonsai 2)"],
  ["Qwen3_5ForCausalLM", "gated DeltaNet layers and rotated weights (Bonsai 2)"],
  ["maple", "a mixture of experts"],
  ["hunyuan-dense", "its attention"],
]);

export function familyNamed(kind: "gguf" | "hf", architecture: unknown): Family | undefined {
  return all.find((family) => family[kind].some((name) => name === architecture));
}
