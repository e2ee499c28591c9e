/** Files of a random checkpoint in a format, and what a backend computes from it. */
import { type Backend, type I2sLayout, type Program, pageTokens } from "@bitnet.ts/core";
import { type GgufChoices, ggufBytes, splitGgufBytes } from "./checkpoint-gguf.ts";
import { type HfChoices, hfFiles } from "./checkpoint-hf.ts";
import type { Checkpoint } from "./random-checkpoint.ts";

export interface Format {
  name: string;
  gguf?: GgufChoices;
  parts?: number;
  hf?: HfChoices;
  i2sLayout?: I2sLayout;
}

export async function checkpointFiles(
  checkpoint: Checkpoint,
  { gguf, parts, hf }: Format,
): Promise<Iterable<[string, Uint8Array]>> {
  if (hf !== undefined) return hfFiles(checkpoint, hf);
  if (gguf === undefined) throw new Error("a format without choices");
  if (parts !== undefined) return splitGgufBytes(checkpoint, gguf, parts);
  return [["model.gguf", await ggufBytes(checkpoint, gguf)]];
}

/** Logits of the rows from `firstHead` on. */
export async function logitsOf(
  backend: Backend,
  program: Program,
  tokens: readonly number[],
  firstHead: number,
): Promise<Float32Array[]> {
  const nPages = Math.ceil(tokens.length / pageTokens);
  const executable = await backend.load(program, { kvType: "f32", nPages, maxRows: tokens.length });
  try {
    const { heads } = await executable.run({
      tokens: Int32Array.from(tokens),
      positions: Int32Array.from(tokens, (_, i) => i),
      sequences: new Int32Array(tokens.length),
      pageTables: [Int32Array.from({ length: nPages }, (_, i) => i)],
      heads: tokens.map((_, row) => ({ row, want: { kind: "all" } }) as const).slice(firstHead),
    });
    return heads.map(({ logits }) => logits);
  } finally {
    await executable.dispose();
  }
}

export const bitsOf = (logits: Float32Array[]) =>
  logits.map(({ buffer, byteOffset, byteLength }) =>
    Buffer.from(buffer, byteOffset, byteLength).toString("base64"),
  );
/**
 * Largest difference, in standard deviations of the logits. What lies at the border between two int8 steps may fall to either side in
 * f64 and in f32, and everything after it differs by percents. All seeds are chosen so that nothing does; then only the rounding of
 * f32 is left.
 */
export function relativeError(logits: Float32Array, exact: readonly number[]): number {
  const deviation = Math.sqrt(exact.reduce((sum, v) => sum + v * v, 0) / exact.length);
  return Math.max(...exact.map((v, id) => Math.abs((logits[id] ?? Number.NaN) - v))) / deviation;
}
