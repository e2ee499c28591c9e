import { describe, expect, it } from "vitest";
import type { Scale } from "../packing/packing.ts";
import { CaseBuilder } from "./conformance/case.ts";
import { planProgram } from "./plan.ts";
import { validateProgram } from "./validate-program.ts";

interface Variations {
  scale?: Scale;
  /** Something else reads the rotated queries, or the values, too. */
  readsToo?: "queries" | "values";
  /** Of the feed-forward part, unfused operations stand in the place of the norm. */
  isUnfused?: boolean;
}

/** A layer as BitNet has it; `names` by buffer id. */
function layer({ scale = { kind: "tensor", value: 1 }, readsToo, isUnfused = false }: Variations = {}) {
  const b = new CaseBuilder(3);
  const [x, q, mixed, y, gate, up, gated] = ["x", "q", "mixed", "y", "gate", "up", "gated"].map((name) =>
    b.f32(name, 128),
  ) as [number, number, number, number, number, number, number];
  const [k, v] = ["k", "v"].map((name) => b.f32(name, 64)) as [number, number];
  const xq = b.q8("xq", 128);
  const yq = b.q8("yq", 128);
  const kv = b.kv("kv", 2, 32);
  const norm = b.dense("norm", "f32", 1, 128);
  const ternary = (name: string, rows: number) => b.ternary(name, rows, 128, scale);
  const table = b.dense("table", "f32", 64, 32);
  const eps = 1e-5;
  b.add({ op: "embed", table: b.dense("embedding", "f16", 50, 128), out: x });
  b.add({ op: "rmsNormQuant", x, weight: norm, out: xq, eps });
  b.add({
    op: "bitLinear",
    x: xq,
    weights: [ternary("wq", 128), ternary("wk", 64), ternary("wv", 64)],
    outs: [q, k, v],
  });
  b.add({ op: "ropeKv", q, k, v, kv, table, nHeads: 4, pairing: "half" });
  b.add({ op: "attention", q, kv, out: mixed, nHeads: 4, scale: 1, window: 0 });
  if (readsToo === "queries") b.add({ op: "residual", x: mixed, y: q });
  if (readsToo === "values") b.add({ op: "activation", x: v, out: b.f32("other", 64), fn: "silu" });
  b.add({ op: "quantise", x: mixed, out: yq });
  b.add({ op: "bitLinear", x: yq, weights: [ternary("wo", 128)], outs: [y] });
  b.add({ op: "residual", x, y });
  b.add({ op: "rmsNormQuant", x, weight: norm, out: xq, eps });
  b.add({ op: "bitLinear", x: xq, weights: [ternary("wg", 128), ternary("wu", 128)], outs: [gate, up] });
  b.add({ op: "gatedActivation", gate, up, out: gated, fn: "silu" });
  if (isUnfused) b.add({ op: "quantise", x: gated, out: yq });
  else b.add({ op: "rmsNormQuant", x: gated, weight: norm, out: yq, eps });
  b.add({ op: "bitLinear", x: yq, weights: [ternary("wd", 128)], outs: [y] });
  b.add({ op: "residual", x, y });
  const program = b.program("layer", { contextLength: 64, vocabSize: 50 });
  const plan = planProgram(program);
  const nameOf = (id: number) => program.buffers[id]?.name ?? "";
  return {
    phases: plan.phases.map(({ first, end }) =>
      program.ops
        .slice(first, end)
        .map(({ op }) => op)
        .join(" "),
    ),
    joined: [...plan.joined].map((i) => `${program.ops[i]?.op} ${program.ops[i + 1]?.op}`),
    lanes: [...plan.lanes].map(nameOf),
    rowByRow: Object.fromEntries([...plan.rowByRow].map(([id, why]) => [nameOf(id), why])),
  };
}

describe("the plan of a layer", () => {
  it("lets threads meet around what needs all rows", () => {
    expect(layer().phases).toEqual([
      "embed rmsNormQuant",
      "bitLinear",
      "ropeKv",
      "attention",
      "quantise",
      "bitLinear",
      "residual rmsNormQuant",
      "bitLinear",
      "gatedActivation rmsNormQuant",
      "bitLinear",
      "residual",
    ]);
  });

  it("joins products to what takes their results", () => {
    expect(layer().joined).toEqual([
      "bitLinear ropeKv",
      "bitLinear residual",
      "bitLinear gatedActivation",
      "bitLinear residual",
    ]);
  });

  it("keeps results that something else reads", () => {
    expect(layer({ readsToo: "queries" }).joined).toContain("bitLinear ropeKv");
    expect(layer({ readsToo: "values" }).joined).not.toContain("bitLinear ropeKv");
  });

  it("keeps apart what writes over what it reads", () => {
    const b = new CaseBuilder(3);
    const [x, gate, up] = [b.f32("x", 128), b.f32("gate", 128), b.f32("up", 128)];
    const xq = b.q8("xq", 128);
    const ternary = (name: string) => b.ternary(name, 128, 128, { kind: "tensor", value: 1 });
    b.add({ op: "quantise", x, out: xq });
    b.add({ op: "bitLinear", x: xq, weights: [ternary("wg"), ternary("wu")], outs: [gate, up] });
    b.add({ op: "gatedActivation", gate, up, out: gate, fn: "silu" });
    b.add({ op: "bitLinear", x: xq, weights: [ternary("w")], outs: [up] });
    b.add({ op: "residual", x: up, y: up });
    const program = b.program("overlaps");
    validateProgram(program);
    expect([...planProgram(program).joined]).toEqual([]);
  });

  it("puts into lanes what only operations touch that know them, and says why the rest is not", () => {
    const { lanes, rowByRow } = layer({ isUnfused: true });
    expect(lanes).toEqual(["x", "xq"]);
    expect(rowByRow).toMatchObject({
      mixed: "attention (operation 4) handles it row by row",
      gated: "quantise (operation 11) handles it row by row",
      yq: "quantise (operation 5) handles it row by row",
    });
  });

  it("has no lanes for scales by group", () => {
    const scale: Scale = { kind: "group", size: 128, values: new Float32Array(128).fill(1) };
    const b = new CaseBuilder(3);
    const [x, y] = [b.f32("x", 128), b.f32("y", 128)];
    const xq = b.q8("xq", 128);
    b.add({ op: "rmsNormQuant", x, weight: b.dense("norm", "f32", 1, 128), out: xq, eps: 0 });
    b.add({ op: "bitLinear", x: xq, weights: [b.ternary("w", 128, 128, scale)], outs: [y] });
    b.add({ op: "residual", x, y });
    const { lanes, rowByRow } = planProgram(b.program("groups"));
    expect(lanes.size).toBe(0);
    expect(rowByRow.get(xq)).toMatch(/group by group/);
    expect(rowByRow.get(x)).toMatch(/the product before it/);
  });
});
