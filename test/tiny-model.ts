/** The oracle's checkpoint in all its formats, bound to Programs, and its golden answers. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  type Backend,
  bindModel,
  createReferenceBackend,
  describeModel,
  openModelFiles,
  type Program,
  readTokenizer,
  type Tokenizer,
} from "@bitnet.ts/core";
import { openFileSource, openPath } from "@bitnet.ts/core/node";
import { createNativeBackend, nativeStatus } from "@bitnet.ts/native";
import { createWasmBackend } from "@bitnet.ts/wasm";
import { createWebGpuBackend } from "@bitnet.ts/webgpu";

export interface GoldenPrompt {
  text: string;
  ids: number[];
  last_logits_top10: [id: number, logit: number][];
  last_logits_first16: number[];
  prompt_logprobs: number[];
  f32_f64_max_abs_diff: number;
  greedy_ids: number[];
  greedy_margins: number[];
  greedy_text: string;
}

const repositoryFile = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

export const golden: { prompts: GoldenPrompt[] } = JSON.parse(
  readFileSync(repositoryFile("test/golden/golden.json"), "utf8"),
);

/** The same weights as published formats store them. */
export const tinyModels = {
  i2_s: repositoryFile("test/golden/tiny.gguf"),
  tq1_0: repositoryFile("test/golden/tiny-tq1_0.gguf"),
  tq2_0: repositoryFile("test/golden/tiny-tq2_0.gguf"),
  "hf packed": repositoryFile("test/golden/hf-packed"),
  "hf bf16": repositoryFile("test/golden/hf-bf16"),
} as const;

export async function bindTiny(path: string): Promise<{ program: Program; tokenizer: Tokenizer }> {
  const files = await openModelFiles(await openPath(path));
  try {
    const model = describeModel(files, path);
    return { program: await bindModel(model, model.config), tokenizer: readTokenizer(files, model.config) };
  } finally {
    await files.close();
  }
}

export const reference = (): Backend => createReferenceBackend({ openFile: openFileSource });

/** Instruction sets of the native backend that this machine can run; empty where there is no native backend. */
export function usableIsas(): string[] {
  return nativeStatus()
    .variants.filter(({ rejected }) => rejected === null)
    .map(({ isa }) => isa);
}

export const wasm = (threads: number): Promise<Backend> => createWasmBackend({ threads });

/** The software adapter of Debian's chromium, unless there is another; null where there is none, which is an error with BITNET_REQUIRE_ALL. */
export async function webgpu(): Promise<Backend | null> {
  const swiftShader = "/usr/lib/chromium/vk_swiftshader_icd.json";
  if (existsSync(swiftShader)) process.env.VK_DRIVER_FILES ??= swiftShader;
  try {
    return await createWebGpuBackend();
  } catch (error) {
    // One that computes wrongly is no reason to skip.
    const isAbsent = /no adapter|not installed|does not load/.test(String(error));
    if (process.env.BITNET_REQUIRE_ALL === "1" || !isAbsent) throw error;
    console.warn(`skipped: ${error}`);
    return null;
  }
}

export function nativeFor(isa: string, threads: number): Promise<Backend> {
  return createNativeBackend({ isa, threads });
}
