/** rope: rotates every head of x in place by the angles of the row's position. A thread for each pair. */
import { type Kernel, kernel } from "./kernel.ts";

export const rope: Kernel = kernel("rope", {
  params: ["nHeads: u32", "headDim: u32", "isAdjacent: u32"],
  buffers: [
    ["write", "x: f32"],
    ["read", "angles: f32"],
  ],
  usesRows: true,
  threads: 64,
  body: `
  let half = params.headDim / 2u;
  let pair = group.x * 64u + t;
  if (pair >= params.nHeads * half) { return; }
  let row = group.y;
  let i = pair % half;
  let head = (row * params.nHeads + pair / half) * params.headDim;
  let first = head + select(i, 2u * i, params.isAdjacent == 1u);
  let second = select(first + half, first + 1u, params.isAdjacent == 1u);
  let at = rows[row].y * params.headDim + i;
  let c = angles[at];
  let s = angles[at + half];
  let x0 = x[first];
  let x1 = x[second];
  x[first] = fma(x0, c, -(x1 * s));
  x[second] = fma(x1, c, x0 * s);`,
});
