/** embed: out = table[token], for the rows of the table that this shard holds. A thread for each element. */
import type { DenseType } from "@bitnet.ts/core";
import { denseElements } from "./dense-elements.ts";
import { type Kernel, kernel } from "./kernel.ts";

export function embed(type: DenseType): Kernel {
  return kernel(`embed ${type}`, {
    params: ["cols: u32", "firstRow: u32", "shardRows: u32"],
    buffers: [
      ["read", "weights: u32"],
      ["write", "out: f32"],
    ],
    usesRows: true,
    threads: 64,
    declarations: denseElements(type),
    body: `
  let col = group.x * 64u + t;
  let row = group.y;
  let token = rows[row].x;
  if (col >= params.cols || token < params.firstRow || token - params.firstRow >= params.shardRows) { return; }
  out[row * params.cols + col] = weightAt(token - params.firstRow, col);`,
  });
}
