/** The families that there are. */
import { bitnetB158 } from "./bitnet-b158.ts";
import type { Family } from "./family.ts";
import { llama } from "./llama.ts";
import type { ModelConfig } from "./model-config.ts";

const families: Readonly<Record<ModelConfig["architecture"], Family>> = {
  "bitnet-b1.58": bitnetB158,
  llama,
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

export function familyNamed(kind: "gguf" | "hf", architecture: unknown): Family | undefined {
  return all.find((family) => family[kind].some((name) => name === architecture));
}
