/** Random models of the family's sizes, made by `bitnet dummy` when they are first needed and kept in a folder outside the repository. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** Seen from build/bench/harness. */
export const repository = resolve(import.meta.dirname, "..", "..", "..");
export const tinyModel = join(repository, "models", "tiny.gguf");

export interface DummyRequest {
  shape: string;
  packing?: "i2_s" | "tq2_0" | "q2_0" | "pq2_0";
  /** llama.cpp opens `bitnet` only. */
  architecture?: "bitnet-b1.58" | "bitnet";
  /** Fewer layers than the size has. */
  layers?: number;
}

/** Made when it is missing. */
export function cacheFolder(): string {
  const folder = process.env.BITNET_BENCH_DIR ?? join(tmpdir(), "bitnet-bench");
  mkdirSync(folder, { recursive: true });
  return folder;
}

/**
 * Path of the model, which is written unless it exists.
 * @throws Error when it cannot be written, for want of disk for instance; `bitnet dummy` has said why.
 */
export function ensureDummy({ shape, packing = "i2_s", architecture, layers }: DummyRequest): string {
  const parts = [shape, packing, architecture, layers === undefined ? undefined : `${layers}-layers`];
  const path = join(cacheFolder(), `${parts.filter((part) => part !== undefined).join("-")}.gguf`);
  if (existsSync(path)) return path;
  const args = ["dummy", "--shape", shape, "--packing", packing, "--output", path];
  if (architecture !== undefined) args.push("--architecture", architecture);
  if (layers !== undefined) args.push("--layers", String(layers));
  const { status } = spawnSync(process.execPath, [join(repository, "packages/cli/bin/bitnet.js"), ...args], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (status !== 0) throw new Error(`the model ${path} could not be made`);
  return path;
}
