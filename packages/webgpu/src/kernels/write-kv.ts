/** writeKv: k and v to the pages of the cache, [page, pageTokens, nKvHeads · headDim] each. A thread for two elements, which share a word as f16. */
import { type KvType, pageTokens } from "@bitnet.ts/core";
import { f16Functions } from "./elementary.ts";
import type { RowPart } from "./row-part.ts";

export function writeKv(kvType: KvType): RowPart {
  const store =
    kvType === "f16"
      ? `$keys[to] = toF16($k[begin]) | (toF16($k[begin + 1u]) << 16u);
      $values[to] = toF16($v[begin]) | (toF16($v[begin + 1u]) << 16u);`
      : `$keys[2u * to] = bitcast<u32>($k[begin]);
      $keys[2u * to + 1u] = bitcast<u32>($k[begin + 1u]);
      $values[2u * to] = bitcast<u32>($v[begin]);
      $values[2u * to + 1u] = bitcast<u32>($v[begin + 1u]);`;
  return {
    name: `writeKv ${kvType}`,
    params: ["width: u32"],
    buffers: [
      ["read", "k: f32"],
      ["read", "v: f32"],
      ["write", "keys: u32"],
      ["write", "values: u32"],
    ],
    shared: kvType === "f16" ? [f16Functions] : [],
    body: `
    let position = positionOf(row);
    let line = pageOf(row, position) * ${pageTokens}u + position % ${pageTokens}u;
    for (var pair = t; 2u * pair < $width; pair += threads) {
      let begin = row * $width + 2u * pair;
      let to = line * ($width / 2u) + pair;
      ${store}
    }`,
  };
}
