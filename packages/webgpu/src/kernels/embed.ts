/** embed: out = table[token], for the rows of the table that this shard holds. */
import type { DenseType } from "@bitnet.ts/core";
import { denseElements } from "./dense-elements.ts";
import type { RowPart } from "./row-part.ts";

export function embed(type: DenseType): RowPart {
  return {
    name: `embed ${type}`,
    params: ["cols: u32", "firstRow: u32", "shardRows: u32"],
    buffers: [
      ["read", "weights: u32"],
      ["write", "out: f32"],
    ],
    // Functions of its own: a table in several shards has several of these parts.
    declarations: denseElements(type)
      .replace(/\bparams\.cols\b/g, "$cols")
      .replace(/\b(weights|byteAt|halfAt|signedByteAt|weightAt|pairAt|fromF16)\b/g, "$$$1"),
    body: `
    let token = tokenOf(row);
    if (token >= $firstRow && token - $firstRow < $shardRows) {
      for (var col = t; col < $cols; col += threads) { $out[row * $cols + col] = $weightAt(token - $firstRow, col); }
    }`,
  };
}
