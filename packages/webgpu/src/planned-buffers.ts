/** Activations and caches of a Program as buffers of the device. */
import { type BufferId, type KvType, type LoadOptions, type Program, pageTokens } from "@bitnet.ts/core";
import { usage } from "./device.ts";
import type { DeviceMemory } from "./memory.ts";
import { missing } from "./planned-weights.ts";

export interface ActivationBuffers {
  values: GPUBuffer;
  /** Of q8 buffers. */
  scales?: GPUBuffer;
  /** Elements (f32) or words (q8) of a row. */
  rowWords: number;
  /** Scales of a row. */
  groups: number;
}

export interface CacheBuffers {
  keys: GPUBuffer;
  values: GPUBuffer;
  /** Of either. */
  pageBytes: number;
}

const kvElementBytes: Readonly<Record<KvType, number>> = { f16: 2, f32: 4 };

export class PlannedBuffers {
  readonly activations = new Map<BufferId, ActivationBuffers>();
  readonly caches = new Map<BufferId, CacheBuffers>();
  readonly #program: Program;
  readonly #options: LoadOptions;
  readonly #memory: DeviceMemory;

  constructor(program: Program, options: LoadOptions, memory: DeviceMemory) {
    this.#program = program;
    this.#options = options;
    this.#memory = memory;
    for (const [id, buffer] of program.buffers.entries()) {
      if (buffer.class === "activation") this.activations.set(id, this.#activation(buffer));
      else if (buffer.class === "kv") this.caches.set(id, this.#cache(buffer));
    }
  }

  f32(id: BufferId): GPUBuffer {
    return (this.activations.get(id) ?? missing(id)).values;
  }

  q8(id: BufferId) {
    const buffers = this.activations.get(id) ?? missing(id);
    const decl = this.#program.buffers[id];
    const isGrouped = decl?.class === "activation" && decl.type === "q8" && decl.groupSize !== undefined;
    return { ...buffers, scales: buffers.scales ?? missing(id), isGrouped };
  }

  kv(id: BufferId) {
    const decl = this.#program.buffers[id];
    return decl?.class === "kv" ? { ...decl, ...(this.caches.get(id) ?? missing(id)) } : missing(id);
  }

  decl(id: BufferId): { cols: number } {
    const decl = this.#program.buffers[id];
    return decl?.class === "activation" ? decl : missing(id);
  }

  #activation(buffer: Extract<Program["buffers"][number], { class: "activation" }>): ActivationBuffers {
    const { name, cols } = buffer;
    const both = usage.copyDst | usage.copySrc;
    if (buffer.type === "f32") {
      const values = this.#memory.storage(name, 4 * cols * this.#options.maxRows, both);
      return { values, rowWords: cols, groups: 0 };
    }
    const rowWords = Math.ceil(cols / 128) * 32;
    const groups = buffer.groupSize === undefined ? 1 : rowWords / 32;
    return {
      values: this.#memory.storage(name, 4 * rowWords * this.#options.maxRows, both),
      scales: this.#memory.storage(`scales of ${name}`, 4 * groups * this.#options.maxRows, both),
      rowWords,
      groups,
    };
  }

  #cache({ name, nKvHeads, headDim }: Extract<Program["buffers"][number], { class: "kv" }>): CacheBuffers {
    const { nPages, kvType } = this.#options;
    const pageBytes = pageTokens * nKvHeads * headDim * kvElementBytes[kvType];
    const both = usage.copyDst | usage.copySrc;
    return {
      keys: this.#memory.storage(`keys of ${name}`, nPages * pageBytes, both),
      values: this.#memory.storage(`values of ${name}`, nPages * pageBytes, both),
      pageBytes,
    };
  }
}
