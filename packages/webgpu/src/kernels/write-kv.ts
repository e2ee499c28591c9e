/** writeKv: k and v to the pages of the cache, [page, pageTokens, nKvHeads · headDim] each. A thread for two elements, which share a word as f16. */
import { type KvType, pageTokens } from "@bitnet.ts/core";
import { f16Functions } from "./elementary.ts";
import { type Kernel, kernel } from "./kernel.ts";

export function writeKv(kvType: KvType): Kernel {
  const store =
    kvType === "f16"
      ? `keys[to] = toF16(k[begin]) | (toF16(k[begin + 1u]) << 16u);
  values[to] = toF16(v[begin]) | (toF16(v[begin + 1u]) << 16u);`
      : `keys[2u * to] = bitcast<u32>(k[begin]);
  keys[2u * to + 1u] = bitcast<u32>(k[begin + 1u]);
  values[2u * to] = bitcast<u32>(v[begin]);
  values[2u * to + 1u] = bitcast<u32>(v[begin + 1u]);`;
  return kernel(`writeKv ${kvType}`, {
    params: ["width: u32"],
    buffers: [
      ["read", "k: f32"],
      ["read", "v: f32"],
      ["write", "keys: u32"],
      ["write", "values: u32"],
    ],
    usesRows: true,
    threads: 64,
    declarations: kvType === "f16" ? f16Functions : "",
    body: `
  let pair = group.x * 64u + t;
  if (2u * pair >= params.width) { return; }
  let row = group.y;
  let position = rows[row].y;
  let page = pages[rows[row].z + position / ${pageTokens}u];
  let begin = row * params.width + 2u * pair;
  let to = (page * ${pageTokens}u + position % ${pageTokens}u) * (params.width / 2u) + pair;
  ${store}`,
  });
}
