/** rope: rotates every head of x in place by the angles of the row's position. A thread for each pair. */
import type { RowPart } from "./row-part.ts";

export const rope: RowPart = {
  name: "rope",
  params: ["nHeads: u32", "headDim: u32", "isAdjacent: u32"],
  buffers: [
    ["write", "x: f32"],
    ["read", "angles: f32"],
  ],
  body: `
    let half = $headDim / 2u;
    for (var pair = t; pair < $nHeads * half; pair += threads) {
      let i = pair % half;
      let head = (row * $nHeads + pair / half) * $headDim;
      let first = head + select(i, 2u * i, $isAdjacent == 1u);
      let second = select(first + half, first + 1u, $isAdjacent == 1u);
      let at = positionOf(row) * $headDim + i;
      let c = $angles[at];
      let s = $angles[at + half];
      let x0 = $x[first];
      let x1 = $x[second];
      $x[first] = fma(x0, c, -(x1 * s));
      $x[second] = fma(x1, c, x0 * s);
    }`,
};
