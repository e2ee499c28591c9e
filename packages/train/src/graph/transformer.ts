/**
 * Records the transformers of the BitNet family as graphs: BitNet b1.58 2B-4T (sub-norms, relu²), Llama (neither), 1bitLLM (sub-norms,
 * SiLU); ternary, binary or in full precision.
 */
import { BitNetError } from "@bitnet.ts/core";
import type { GateFn, WeightForm } from "../kernels/kernels.ts";
import type { Graph, Operation, Parameter, ParameterId, Value, ValueId } from "./graph.ts";

export interface TransformerShape {
  hiddenSize: number;
  ffnSize: number;
  nLayers: number;
  nHeads: number;
  nKvHeads: number;
  headDim: number;
  vocabSize: number;
  contextLength: number;
  normEps: number;
  ropeTheta: number;
  activation: GateFn;
  /** RMSNorm before the output and the down projection. */
  hasSubNorms: boolean;
  /** The embedding serves as head. */
  isTied: boolean;
  form: WeightForm;
}

/** The projections that may have a side path. */
export const loraTargets = [
  "attn_q",
  "attn_k",
  "attn_v",
  "attn_output",
  "ffn_gate",
  "ffn_up",
  "ffn_down",
] as const;
export type LoraTarget = (typeof loraTargets)[number];

/** Low-rank side paths (Hu et al., 2021); everything else is frozen. */
export interface LoraShape {
  rank: number;
  /** The side path counts alpha / rank. */
  alpha: number;
  /** Share of the input that training leaves out. */
  dropout: number;
  targets: readonly LoraTarget[];
  /** Train through the ternariser: the forward pass multiplies with Q(W + alpha / rank · B A), so that merging loses nothing. No dropout. */
  isMerged?: boolean;
}

/** @throws BitNetError INVALID_ARGUMENT for a shape that is none. */
export function recordTransformer(shape: TransformerShape, lora: LoraShape | null = null): Graph {
  checkShape(shape);
  if (lora !== null) checkLora(lora);
  const { hiddenSize, ffnSize, nHeads, nKvHeads, headDim, vocabSize } = shape;
  const record = new Recorder(shape, lora);
  const [qWidth, kvWidth] = [nHeads * headDim, nKvHeads * headDim];
  const table = record.matrix("token_embd", vocabSize, hiddenSize, "float");
  let x = record.value("x", hiddenSize);
  record.push({ kind: "embed", table, out: x });
  for (let layer = 0; layer < shape.nLayers; layer++) {
    record.segment++;
    const name = (part: string) => `blk.${layer}.${part}`;
    const h = record.normed(name("attn_norm"), x, hiddenSize);
    const q = record.rope(record.linear(name("attn_q"), h, hiddenSize, qWidth), nHeads);
    const k = record.rope(record.linear(name("attn_k"), h, hiddenSize, kvWidth), nKvHeads);
    const v = record.linear(name("attn_v"), h, hiddenSize, kvWidth);
    const mixed = record.value(name("attn"), qWidth);
    const stats = record.value(name("attn.stats"), 2 * nHeads);
    record.push({ kind: "attention", q, k, v, out: mixed, stats });
    const toOutput = shape.hasSubNorms
      ? record.normed(name("attn_sub_norm"), mixed, qWidth)
      : record.quantised(mixed, qWidth, false);
    x = record.sum(x, record.linear(name("attn_output"), toOutput, qWidth, hiddenSize));
    const h2 = record.normed(name("ffn_norm"), x, hiddenSize);
    const gate = record.linear(name("ffn_gate"), h2, hiddenSize, ffnSize);
    const up = record.linear(name("ffn_up"), h2, hiddenSize, ffnSize);
    const gated = record.value(name("ffn"), ffnSize);
    record.push({ kind: "gate", fn: shape.activation, gate, up, out: gated });
    const toDown = shape.hasSubNorms
      ? record.normed(name("ffn_sub_norm"), gated, ffnSize)
      : record.quantised(gated, ffnSize, true);
    x = record.sum(x, record.linear(name("ffn_down"), toDown, ffnSize, hiddenSize));
  }
  record.segment++;
  const last = record.norm("output_norm", x, hiddenSize);
  const head = shape.isTied ? table : record.matrix("output", vocabSize, hiddenSize, "float");
  record.push({ kind: "head", x: last, table: head });
  return record.finish();
}

/** Rows that a linear operation can read: floats, or quantised ones with their factors. */
interface LinearInput {
  x: ValueId;
  s: ValueId | null;
  /** The rows before quantisation. */
  plain: ValueId;
}

class Recorder {
  segment = 0;
  readonly #shape: TransformerShape;
  readonly #parameters: Parameter[] = [];
  readonly #values: Value[] = [];
  readonly #operations: Operation[] = [];
  readonly #segments: number[] = [];
  readonly #lora: LoraShape | null;
  #nSites = 0;

  constructor(shape: TransformerShape, lora: LoraShape | null) {
    this.#shape = shape;
    this.#lora = lora;
  }

  push(op: Operation): void {
    this.#operations.push(op);
    this.#segments.push(this.segment);
  }

  value(name: string, width: number, replaces: ValueId | null = null): ValueId {
    return this.#values.push({ name, width, replaces }) - 1;
  }

  matrix(
    name: string,
    rows: number,
    cols: number,
    form: WeightForm,
    adapter?: Parameter["adapter"],
  ): ParameterId {
    return (
      this.#parameters.push({
        name,
        shape: [rows, cols],
        form,
        decays: true,
        isFrozen: this.#lora !== null,
        ...(adapter === undefined ? {} : { adapter }),
      }) - 1
    );
  }

  norm(name: string, x: ValueId, width: number): ValueId {
    const isFrozen = this.#lora !== null;
    const weight =
      this.#parameters.push({ name, shape: [width], form: "float", decays: false, isFrozen }) - 1;
    const out = this.value(name, width);
    this.push({ kind: "rmsNorm", x, weight, out, r: this.value(`${name}.r`, 1) });
    return out;
  }

  normed(name: string, x: ValueId, width: number): LinearInput {
    return this.quantised(this.norm(name, x, width), width, true);
  }

  /** @param isLast Nobody else reads `x`, not even a gradient. */
  quantised(x: ValueId, width: number, isLast: boolean): LinearInput {
    if (this.#shape.form === "float") return { x, s: null, plain: x };
    // Side paths read the rows as they were.
    const out = this.value(`${this.#values[x]?.name}.q`, width, isLast && this.#lora === null ? x : null);
    const s = this.value(`${this.#values[x]?.name}.s`, 1);
    this.push({ kind: "quantise", x, out, s });
    return { x: out, s, plain: x };
  }

  linear(name: string, { x, s, plain }: LinearInput, inputs: number, outputs: number): ValueId {
    const target = loraTargets.find((each) => name.endsWith(`.${each}`));
    const lora = target !== undefined && this.#lora?.targets.includes(target) ? this.#lora : null;
    const adapter = lora?.isMerged ? this.#factors(name, lora, inputs, outputs) : undefined;
    const weight = this.matrix(name, outputs, inputs, this.#shape.form, adapter);
    const out = this.value(name, outputs);
    this.push({ kind: "linear", x, s, weight, out });
    if (lora === null || lora.isMerged) return out;
    return this.#sidePath(name, lora, { x: plain, y: out, inputs, outputs });
  }

  #factors(name: string, { rank, alpha }: LoraShape, inputs: number, outputs: number) {
    const factor = (part: string, rows: number, cols: number) =>
      this.#parameters.push({
        name: `${name}.${part}`,
        shape: [rows, cols],
        form: "float",
        decays: true,
        isFrozen: false,
      }) - 1;
    return {
      a: factor("lora_a", rank, inputs),
      b: factor("lora_b", outputs, rank),
      scale: alpha / rank,
    };
  }

  #sidePath(
    name: string,
    lora: LoraShape,
    { x, y, inputs, outputs }: { x: ValueId; y: ValueId; inputs: number; outputs: number },
  ): ValueId {
    const { a, b, scale } = this.#factors(name, lora, inputs, outputs);
    const hidden = this.value(`${name}.hidden`, lora.rank);
    const out = this.value(`${name}.lora`, outputs, y);
    const { dropout } = lora;
    this.push({ kind: "lora", x, y, a, b, hidden, out, scale, dropout, site: this.#nSites++ });
    return out;
  }

  rope(x: ValueId, nHeads: number): ValueId {
    const value = this.#values[x];
    const out = this.value(`${value?.name}.rope`, value?.width ?? 0, x);
    this.push({ kind: "rope", x, out, nHeads });
    return out;
  }

  sum(a: ValueId, b: ValueId): ValueId {
    const out = this.value(`${this.#values[b]?.name}.sum`, this.#shape.hiddenSize, b);
    this.push({ kind: "add", a, b, out });
    return out;
  }

  finish(): Graph {
    const { nHeads, nKvHeads, headDim, vocabSize, contextLength, ropeTheta, normEps } = this.#shape;
    return {
      parameters: this.#parameters,
      values: this.#values,
      operations: this.#operations,
      segments: this.#segments,
      ...{ nHeads, nKvHeads, headDim, vocabSize, contextLength, ropeTheta, normEps },
    };
  }
}

function checkShape(shape: TransformerShape): void {
  const problems: string[] = [];
  const counts = [
    "hiddenSize",
    "ffnSize",
    "nLayers",
    "nHeads",
    "nKvHeads",
    "headDim",
    "vocabSize",
    "contextLength",
  ] as const;
  for (const name of counts)
    if (!Number.isSafeInteger(shape[name]) || shape[name] < 1 || shape[name] > 2 ** 24)
      problems.push(`${name} is ${shape[name]}, expected a positive integer`);
  if (shape.nHeads % shape.nKvHeads !== 0)
    problems.push(`${shape.nHeads} heads cannot share ${shape.nKvHeads} key/value heads`);
  if (shape.headDim % 2 !== 0) problems.push(`headDim is ${shape.headDim}, expected an even number`);
  if (!(shape.normEps > 0 && shape.normEps < 1))
    problems.push(`normEps is ${shape.normEps}, expected a number in (0, 1)`);
  if (!(shape.ropeTheta > 1)) problems.push(`ropeTheta is ${shape.ropeTheta}, expected a number above 1`);
  if (problems.length > 0)
    throw new BitNetError("INVALID_ARGUMENT", `model shape: ${problems.join("; ")}`, {
      details: { problems },
    });
}

function checkLora({ rank, alpha, dropout, targets, isMerged }: LoraShape): void {
  const problems: string[] = [];
  if (!Number.isSafeInteger(rank) || rank < 1 || rank > 4096)
    problems.push(`rank is ${rank}, expected an integer from 1 to 4096`);
  if (!(alpha > 0 && Number.isFinite(alpha))) problems.push(`alpha is ${alpha}, expected a positive number`);
  if (!(dropout >= 0 && dropout < 1)) problems.push(`dropout is ${dropout}, expected a number in [0, 1)`);
  if (isMerged && dropout !== 0)
    problems.push(`dropout is ${dropout}, expected 0 for an adapter that is trained through the ternariser`);
  if (targets.length === 0) problems.push("targets: expected one at least");
  for (const target of targets)
    if (!loraTargets.includes(target))
      problems.push(`targets: there is no "${target}", only ${loraTargets.join(", ")}`);
  if (problems.length > 0)
    throw new BitNetError("INVALID_ARGUMENT", `adapter: ${problems.join("; ")}`, { details: { problems } });
}
