/** Activations that a step gives back: where they lie on the device, and how they are read. */
import type { BufferId, BufferOutput } from "@bitnet.ts/core";
import type { Copy } from "./head-requests.ts";
import type { ActivationBuffers } from "./planned-buffers.ts";

export interface AskedOutput {
  copies: Copy[];
  /** @param at Where in `bytes` the copies begin. */
  read(bytes: ArrayBuffer, at: number): BufferOutput;
}

export function askedOutput(
  buffer: BufferId,
  { values, scales, rowWords, groups }: ActivationBuffers,
  { nRows, cols }: { nRows: number; cols: number },
): AskedOutput {
  const valueBytes = 4 * nRows * rowWords;
  const copies: Copy[] = [{ buffer: values, from: 0, bytes: valueBytes }];
  if (scales === undefined) {
    const read = (bytes: ArrayBuffer, at: number) => ({
      buffer,
      values: new Float32Array(bytes, at, nRows * cols).slice(),
    });
    return { copies, read };
  }
  copies.push({ buffer: scales, from: 0, bytes: 4 * nRows * groups });
  return {
    copies,
    read(bytes, at) {
      const padded = new Int8Array(bytes, at, valueBytes);
      const quantised = new Int8Array(nRows * cols);
      for (let row = 0; row < nRows; row++)
        quantised.set(padded.subarray(4 * row * rowWords, 4 * row * rowWords + cols), row * cols);
      const ownScales = new Float32Array(bytes, at + valueBytes, nRows * groups).slice();
      return { buffer, quantised: { values: quantised, scales: ownScales } };
    },
  };
}
