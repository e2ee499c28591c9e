/** What is computed element by element: activations, sums and products of two buffers, of a buffer and a vector, of a buffer and a number. */
import { elementaryConstants, type OpOf } from "@bitnet.ts/core";
import { expFunction, literal } from "./elementary.ts";
import type { Access } from "./kernel.ts";
import type { RowPart } from "./row-part.ts";

type GateFn = OpOf<"activation">["fn"];

const { geluCubic, geluScale } = elementaryConstants;

const functions: Readonly<Record<GateFn, readonly string[]>> = {
  relu2: ["fn relu2Of(g: f32) -> f32 { let positive = max(g, 0.0); return positive * positive; }"],
  silu: [expFunction, "fn siluOf(g: f32) -> f32 { return g / (1.0 + expOf(-g)); }"],
  gelu: [
    expFunction,
    `fn geluOf(g: f32) -> f32 {
  let inner = fma(${literal(geluCubic)}, (g * g) * g, g);
  return g / (1.0 + expOf(-(${literal(geluScale)} * inner)));
}`,
  ],
};

function elementWise(
  name: string,
  buffers: readonly (readonly [Access, string])[],
  statement: string,
  { shared = [], params = [] }: { shared?: readonly string[]; params?: readonly string[] } = {},
): RowPart {
  return {
    name,
    params: ["cols: u32", ...params],
    buffers,
    shared,
    body: `
    for (var col = t; col < $cols; col += threads) {
      let i = row * $cols + col;
      ${statement}
    }`,
  };
}

export const gatedActivation = (fn: GateFn): RowPart =>
  elementWise(
    `gatedActivation ${fn}`,
    [
      ["read", "gate: f32"],
      ["read", "up: f32"],
      ["write", "out: f32"],
    ],
    `$out[i] = ${fn}Of($gate[i]) * $up[i];`,
    { shared: functions[fn] },
  );

export const activation = (fn: GateFn): RowPart =>
  elementWise(
    `activation ${fn}`,
    [
      ["read", "x: f32"],
      ["write", "out: f32"],
    ],
    `$out[i] = ${fn}Of($x[i]);`,
    { shared: functions[fn] },
  );

export const multiply: RowPart = elementWise(
  "multiply",
  [
    ["read", "x: f32"],
    ["read", "y: f32"],
    ["write", "out: f32"],
  ],
  "$out[i] = $x[i] * $y[i];",
);

export const residual: RowPart = elementWise(
  "residual",
  [
    ["write", "x: f32"],
    ["read", "y: f32"],
  ],
  "$x[i] += $y[i];",
);

export const bias: RowPart = elementWise(
  "bias",
  [
    ["write", "x: f32"],
    ["read", "bias: f32"],
  ],
  "$x[i] += $bias[col];",
);

export const scale: RowPart = elementWise("scale", [["write", "x: f32"]], "$x[i] *= $factor;", {
  params: ["factor: f32"],
});
