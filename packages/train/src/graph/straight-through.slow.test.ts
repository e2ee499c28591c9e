/**
 * The straight-through estimator of whole models against its definition: quantisers count as x + (Q(x₀) − x₀) with what stands in brackets
 * constant, for weights W + (m·T − W₀). Of the function that this makes, the gradients must be those of finite differences in f64,
 * at every place where something is quantised.
 */
import { describe, expect, it } from "vitest";
import type { Floats, Kernels } from "../kernels/kernels.ts";
import { referenceKernels } from "../kernels/reference/reference-kernels.ts";
import { smallBatch, smallExecutor } from "./small-model.test.kit.ts";
import type { LoraShape, TransformerShape } from "./transformer.ts";

const f64 = referenceKernels("f64");

interface Quantised {
  x: Floats;
  q: Floats;
  s: Floats;
}

/** Kernels whose quantisers, once recorded, are straight lines through what they gave then. */
class StraightKernels {
  readonly kernels: Kernels;
  #isRecording = true;
  #activations: Quantised[] = [];
  #weights: { masters: Floats; formed: Floats; scale: number }[] = [];
  #nextActivation = 0;
  #nextWeight = 0;

  constructor() {
    this.kernels = {
      ...f64,
      quantise: (x, width, q, s) => this.#quantise(x, width, q, s),
      formWeights: (master, form, out) => this.#formWeights(master, form, out),
    };
  }

  record(): void {
    [this.#isRecording, this.#activations, this.#weights] = [true, [], []];
  }

  /** Before every pass from then on. */
  replay(): void {
    [this.#isRecording, this.#nextActivation, this.#nextWeight] = [false, 0, 0];
  }

  #quantise(x: Floats, width: number, q: Floats, s: Floats): void {
    if (this.#isRecording) {
      const before = x.slice();
      f64.quantise(x, width, q, s);
      this.#activations.push({ x: before, q: q.slice(), s: s.slice() });
      return;
    }
    const then = this.#activations[this.#nextActivation++] as Quantised;
    for (let i = 0; i < x.length; i++) {
      const factor = then.s[Math.floor(i / width)] ?? 0;
      q[i] = (then.q[i] ?? 0) + ((x[i] ?? 0) - (then.x[i] ?? 0)) * factor;
    }
    s.set(then.s);
  }

  #formWeights(master: Floats, form: "b1.58" | "b1" | "float", out: Floats): number {
    if (this.#isRecording) {
      const scale = f64.formWeights(master, form, out);
      this.#weights.push({ masters: master.slice(), formed: out.slice(), scale });
      return scale;
    }
    const then = this.#weights[this.#nextWeight++];
    if (then === undefined) throw new Error("more weights are formed than were recorded");
    for (let i = 0; i < master.length; i++)
      out[i] = (then.formed[i] ?? 0) + ((master[i] ?? 0) - (then.masters[i] ?? 0)) / then.scale;
    return then.scale;
  }
}

const variants: [string, Partial<TransformerShape>][] = [
  ["b1.58, sub-norms, relu², tied", { form: "b1.58" }],
  ["b1, sub-norms, relu², tied", { form: "b1" }],
  ["b1.58 in Llama's shape", { form: "b1.58", activation: "silu", hasSubNorms: false, isTied: false }],
  ["b1.58 as 1bitLLM", { form: "b1.58", activation: "silu", nKvHeads: 4 }],
];

const mergedLora: LoraShape = {
  rank: 3,
  alpha: 6,
  dropout: 0,
  targets: ["attn_q", "attn_output", "ffn_up"],
  isMerged: true,
};

describe("gradients through quantisers", () => {
  it.each([
    ...variants.map(([name, shape]) => [name, shape, null] as const),
    ["adapters within the weights", { form: "b1.58" }, mergedLora] as const,
  ])("are those of a straight line at each of them: %s", (_, shape, lora) => {
    const straight = new StraightKernels();
    const executor = smallExecutor(straight.kernels, shape, {}, lora);
    const batch = smallBatch([7, 1, 5]);
    straight.record();
    executor.formWeights();
    const { weight } = executor.loss(batch);
    executor.clearGradients();
    straight.replay();
    executor.gradient(batch, 1 / weight);
    executor.finishGradients();
    executor.parameters.forEach((weights, id) => {
      if (executor.graph.parameters[id]?.isFrozen) return;
      for (let i = 0; i < weights.length; i += Math.max(1, Math.floor(weights.length / 7))) {
        const before = weights[i] ?? 0;
        const lossAt = (x: number) => {
          weights[i] = x;
          straight.replay();
          executor.formWeights();
          return executor.loss(batch).sum / weight;
        };
        // Sums of whole numbers are 0 at times, where relu² has a second derivative on one side alone: the error is of order h.
        const h = 1e-7;
        const slope = (lossAt(before + h) - lossAt(before - h)) / (2 * h);
        lossAt(before);
        const name = `${executor.graph.parameters[id]?.name}[${i}]`;
        const found = executor.gradients[id]?.[i] ?? 0;
        expect(Math.abs(slope - found), name).toBeLessThan(1e-8 + 1e-6 * Math.abs(slope));
      }
    });
  });
});
