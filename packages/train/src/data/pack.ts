/** Packs documents into micro-batches, one after another without padding; attention keeps them apart. */
import type { MicroBatch } from "../graph/executor.ts";
import type { EncodedExample } from "./example.ts";

/** @param documents Each with at most `maxRows` predictions, at least one. */
export function packDocuments(documents: readonly EncodedExample[], maxRows: number): MicroBatch[] {
  const batches: MicroBatch[] = [];
  let open: EncodedExample[] = [];
  let rows = 0;
  for (const document of documents) {
    const n = document.ids.length - 1;
    if (rows + n > maxRows && open.length > 0) {
      batches.push(joined(open, rows));
      [open, rows] = [[], 0];
    }
    open.push(document);
    rows += n;
  }
  if (open.length > 0) batches.push(joined(open, rows));
  return batches;
}

function joined(documents: readonly EncodedExample[], rows: number): MicroBatch {
  const [ids, labels, weights] = [new Int32Array(rows), new Int32Array(rows), new Float32Array(rows)];
  const starts = new Int32Array(documents.length + 1);
  let at = 0;
  documents.forEach((document, d) => {
    ids.set(document.ids.subarray(0, -1), at);
    labels.set(document.ids.subarray(1), at);
    weights.set(document.weights.subarray(1), at);
    at += document.ids.length - 1;
    starts[d + 1] = at;
  });
  return { ids, labels, weights, starts };
}

export function labelWeight(documents: readonly EncodedExample[]): number {
  let sum = 0;
  for (const { weights } of documents) for (let i = 1; i < weights.length; i++) sum += weights[i] ?? 0;
  return sum;
}
