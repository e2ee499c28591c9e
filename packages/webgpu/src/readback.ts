/** What comes back from the device: one buffer, as large as the largest answer so far, into which a submission copies and which is then read. */
import { BitNetError } from "@bitnet.ts/core";
import { usage } from "./device.ts";
import type { Copy } from "./head-requests.ts";
import type { DeviceMemory } from "./memory.ts";
import { waitFor } from "./waiting.ts";

export function sizeOf(copies: readonly Copy[]): number {
  return copies.reduce((sum, { bytes }) => sum + bytes, 0);
}

export class Readback {
  readonly #memory: DeviceMemory;
  readonly #name: string;
  #buffer: GPUBuffer | null = null;

  /** @param name Of the program, for messages. */
  constructor(memory: DeviceMemory, name: string) {
    this.#memory = memory;
    this.#name = name;
  }

  /** Encodes the copies, one behind the other from `to` on, of `total` bytes that are then read together. */
  encode(
    encoder: GPUCommandEncoder,
    copies: readonly Copy[],
    { to, total }: { to: number; total: number },
  ): void {
    const target = this.#bufferOf(total);
    let place = to;
    for (const { buffer, from, bytes } of copies) {
      encoder.copyBufferToBuffer(buffer, from, target, place, bytes);
      place += bytes;
    }
  }

  /** @throws BitNetError BACKEND_FAILED. */
  async read(size: number): Promise<ArrayBuffer> {
    const { device } = this.#memory;
    const buffer = this.#bufferOf(size);
    try {
      await waitFor(device.gpu, buffer.mapAsync(1, 0, size));
    } catch (cause) {
      // What the device reported says more.
      await device.settled();
      device.assertWell();
      const text = `webgpu: ${this.#name}: the results of a step cannot be read`;
      throw new BitNetError("BACKEND_FAILED", text, { cause });
    }
    const bytes = buffer.getMappedRange(0, size).slice(0);
    buffer.unmap();
    device.assertWell();
    return bytes;
  }

  #bufferOf(bytes: number): GPUBuffer {
    if (this.#buffer === null || this.#buffer.size < bytes) {
      this.#buffer?.destroy();
      const size = Math.ceil(bytes / 1024) * 1024;
      this.#buffer = this.#memory.buffer("readback", size, usage.mapRead | usage.copyDst);
    }
    return this.#buffer;
  }
}
