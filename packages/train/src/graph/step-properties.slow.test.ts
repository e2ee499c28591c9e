/**
 * What a training step must be whatever it is given: random documents, weights of rows, cuts and shapes. Equal bits where the arithmetic is
 * the same, 1e-6 of the largest gradient where a sum has another order.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Kernels } from "../kernels/kernels.ts";
import { nativeKernels } from "../kernels/native-kernels.ts";
import { referenceKernels } from "../kernels/reference/reference-kernels.ts";
import type { Executor, MicroBatch } from "./executor.ts";
import { smallBatch, smallExecutor } from "./small-model.test.kit.ts";
import type { TransformerShape } from "./transformer.ts";

const runs = { numRuns: 25, seed: 11 };
const maxRows = 96;

function kernelsWith(threads: number): Kernels {
  try {
    return nativeKernels({ threads });
  } catch {
    return referenceKernels("f32");
  }
}

const shapes = fc.record({
  form: fc.constantFrom("b1.58" as const, "b1" as const, "float" as const),
  activation: fc.constantFrom("relu2" as const, "silu" as const),
  hasSubNorms: fc.boolean(),
  isTied: fc.boolean(),
  nKvHeads: fc.constantFrom(1, 2, 4),
});
const lengths = fc.array(fc.integer({ min: 1, max: 16 }), { minLength: 2, maxLength: 6 });
const seeds = fc.integer({ min: 0, max: 2 ** 31 });

function gradientsOf(executor: Executor, batches: readonly MicroBatch[]): number[][] {
  executor.clearGradients();
  for (const batch of batches) executor.gradient(batch, 1 / 7);
  return executor.gradients.map((gradient) => Array.from(gradient));
}

const executorOf = (kernels: Kernels, shape: Partial<TransformerShape>, recomputes = false) =>
  smallExecutor(kernels, shape, { maxRows, recomputes });

/** Documents [first, end) of a batch. */
function cut({ ids, labels, weights, starts }: MicroBatch, first: number, end: number): MicroBatch {
  const [from, to] = [starts[first] ?? 0, starts[end] ?? 0];
  return {
    ids: ids.subarray(from, to),
    labels: labels.subarray(from, to),
    weights: weights.subarray(from, to),
    starts: starts.slice(first, end + 1).map((start) => start - from),
  };
}

/** A batch in parts at any documents' ends. */
function split(batch: MicroBatch, isEnd: (document: number) => boolean): MicroBatch[] {
  const nDocuments = batch.starts.length - 1;
  const ends = Array.from({ length: nDocuments }, (_, i) => i + 1).filter(
    (i) => i === nDocuments || isEnd(i),
  );
  return ends.map((end, i) => cut(batch, ends[i - 1] ?? 0, end));
}

function expectNear(found: readonly number[][], expected: readonly number[][]): void {
  expected.forEach((gradient, id) => {
    const largest = Math.max(...gradient.map(Math.abs));
    const error = Math.max(...gradient.map((g, i) => Math.abs(g - (found[id]?.[i] ?? Number.NaN))));
    expect(error).toBeLessThanOrEqual(1e-6 * largest);
  });
}

describe("a step", () => {
  const kernels = kernelsWith(1);

  it("accumulated over any cut of its documents is the step of all at once; losses have the same bits", () => {
    fc.assert(
      fc.property(shapes, lengths, seeds, (shape, documents, seed) => {
        const executor = executorOf(kernels, shape);
        const whole = smallBatch(documents, seed);
        executor.loss(whole);
        const losses = Array.from(executor.losses.subarray(0, whole.ids.length));
        const parts = split(whole, (document) => ((seed >> document) & 1) === 1);
        const apart = parts.flatMap((part) => {
          executor.loss(part);
          return Array.from(executor.losses.subarray(0, part.ids.length));
        });
        expect(apart).toEqual(losses);
        expectNear(gradientsOf(executor, parts), gradientsOf(executor, [whole]));
      }),
      runs,
    );
  });

  it("packed is the sum of every document alone, and no document sees another", () => {
    fc.assert(
      fc.property(shapes, lengths, seeds, (shape, documents, seed) => {
        const executor = executorOf(kernels, shape);
        const packed = smallBatch(documents, seed);
        expectNear(
          gradientsOf(
            executor,
            split(packed, () => true),
          ),
          gradientsOf(executor, [packed]),
        );
        const last = cut(packed, documents.length - 1, documents.length);
        executor.loss(packed);
        const first = packed.ids.length - last.ids.length;
        const before = Array.from(executor.losses.subarray(first, packed.ids.length));
        packed.ids.subarray(0, first).reverse();
        packed.labels.subarray(0, first).fill(1);
        executor.loss(packed);
        expect(Array.from(executor.losses.subarray(first, packed.ids.length))).toEqual(before);
      }),
      runs,
    );
  });

  it("has the same bits with values computed again, and with one, two or five threads", () => {
    const [two, five] = [kernelsWith(2), kernelsWith(5)];
    fc.assert(
      fc.property(shapes, lengths, seeds, (shape, documents, seed) => {
        const batches = split(smallBatch(documents, seed), (document) => document === 1);
        const expected = gradientsOf(executorOf(kernels, shape), batches);
        expect(gradientsOf(executorOf(kernels, shape, true), batches)).toEqual(expected);
        expect(gradientsOf(executorOf(two, shape), batches)).toEqual(expected);
        expect(gradientsOf(executorOf(five, shape, true), batches)).toEqual(expected);
      }),
      runs,
    );
  });

  it("against the gradient lowers the loss of its own batch", () => {
    fc.assert(
      fc.property(shapes, lengths, seeds, (shape, documents, seed) => {
        const executor = executorOf(kernels, { ...shape, form: "float" });
        const batch = smallBatch(documents, seed);
        const before = executor.loss(batch).sum;
        fc.pre(before > 0);
        const gradients = gradientsOf(executor, [batch]);
        const square = gradients.flat().reduce((sum, g) => sum + g * g, 0);
        executor.parameters.forEach((weights, id) => {
          for (let i = 0; i < weights.length; i++)
            weights[i] = (weights[i] ?? 0) - (1e-4 * (gradients[id]?.[i] ?? 0)) / Math.sqrt(square);
        });
        executor.formWeights();
        expect(executor.loss(batch).sum).toBeLessThan(before);
      }),
      runs,
    );
  });
});
