/** What is computed element by element: activations, sums and products of two buffers, of a buffer and a vector, of a buffer and a number. */
import { elementaryConstants, type OpOf } from "@bitnet.ts/core";
import { expFunction, literal } from "./elementary.ts";
import { type Access, type Kernel, kernel } from "./kernel.ts";

type GateFn = OpOf<"activation">["fn"];

const { geluCubic, geluScale } = elementaryConstants;

const functions: Readonly<Record<GateFn, string>> = {
  relu2: "fn activated(g: f32) -> f32 { let positive = max(g, 0.0); return positive * positive; }",
  silu: `${expFunction}fn activated(g: f32) -> f32 { return g / (1.0 + expOf(-g)); }`,
  gelu: `${expFunction}fn activated(g: f32) -> f32 {
  let inner = fma(${literal(geluCubic)}, (g * g) * g, g);
  return g / (1.0 + expOf(-(${literal(geluScale)} * inner)));
}`,
};

function elementWise(
  name: string,
  buffers: readonly (readonly [Access, string])[],
  statement: string,
  declarations = "",
): Kernel {
  return kernel(name, {
    params: ["cols: u32", "factor: f32"],
    buffers,
    threads: 64,
    declarations,
    body: `
  let col = group.x * 64u + t;
  if (col >= params.cols) { return; }
  let i = group.y * params.cols + col;
  ${statement}`,
  });
}

export const gatedActivation = (fn: GateFn): Kernel =>
  elementWise(
    `gatedActivation ${fn}`,
    [
      ["read", "gate: f32"],
      ["read", "up: f32"],
      ["write", "out: f32"],
    ],
    "out[i] = activated(gate[i]) * up[i];",
    functions[fn],
  );

export const activation = (fn: GateFn): Kernel =>
  elementWise(
    `activation ${fn}`,
    [
      ["read", "x: f32"],
      ["write", "out: f32"],
    ],
    "out[i] = activated(x[i]);",
    functions[fn],
  );

export const multiply: Kernel = elementWise(
  "multiply",
  [
    ["read", "x: f32"],
    ["read", "y: f32"],
    ["write", "out: f32"],
  ],
  "out[i] = x[i] * y[i];",
);

export const residual: Kernel = elementWise(
  "residual",
  [
    ["write", "x: f32"],
    ["read", "y: f32"],
  ],
  "x[i] += y[i];",
);

export const bias: Kernel = elementWise(
  "bias",
  [
    ["write", "x: f32"],
    ["read", "bias: f32"],
  ],
  "x[i] += bias[col];",
);

export const scale: Kernel = elementWise("scale", [["write", "x: f32"]], "x[i] *= params.factor;");
