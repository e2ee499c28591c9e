/** The weights of a plan: a buffer for each, made once, and what load.ts is to bring there. */
import {
  BitNetError,
  type BufferId,
  type DenseTensor,
  type Program,
  type TernaryTensor,
} from "@bitnet.ts/core";
import { type DeviceMemory, tensorBytes } from "./memory.ts";

/** Bytes of a tensor, or its elements widened to f32, and where they go. */
export interface Upload {
  tensor: TernaryTensor | DenseTensor;
  buffer: GPUBuffer;
  at: number;
  /** Part of the tensor. */
  from: number;
  length: number;
  isWidened: boolean;
}

/** Scales of ternary matrices, ready to be written. */
export interface Constant {
  buffer: GPUBuffer;
  values: Float32Array<ArrayBuffer>;
}

interface Shard {
  buffer: GPUBuffer;
  firstRow: number;
  shardRows: number;
}

export class PlannedWeights {
  readonly uploads: Upload[] = [];
  readonly constants: Constant[] = [];
  readonly #program: Program;
  readonly #memory: DeviceMemory;
  readonly #buffers = new Map<string, GPUBuffer>();
  readonly #products = new Map<string, { weights: GPUBuffer; scales: GPUBuffer }>();
  readonly #shards = new Map<BufferId, Shard[]>();

  constructor(program: Program, memory: DeviceMemory) {
    this.#program = program;
    this.#memory = memory;
  }

  /** Matrices that stand one below the other, and their scales. */
  product(ids: readonly BufferId[]): { weights: GPUBuffer; scales: GPUBuffer } {
    const key = ids.join();
    const known = this.#products.get(key);
    if (known !== undefined) return known;
    const tensors = ids.map((id) => this.ternary(id));
    const names = ids.map((id) => this.#program.buffers[id]?.name).join(" + ");
    const values = scalesOf(tensors);
    const made = {
      weights: this.#memory.storage(
        names,
        tensors.reduce((sum, { rows, cols }) => sum + rows * Math.ceil(cols / 128) * 32, 0),
      ),
      scales: this.#memory.storage(`scales of ${names}`, values.byteLength),
    };
    this.#products.set(key, made);
    let at = 0;
    for (const tensor of tensors) {
      const length = tensorBytes(tensor);
      this.uploads.push({ tensor, buffer: made.weights, at, from: 0, length, isWidened: false });
      at += length;
    }
    this.constants.push({ buffer: made.scales, values });
    return made;
  }

  /** A dense weight that is small, as f32. */
  vector(id: BufferId): GPUBuffer {
    const key = `f32 ${id}`;
    let buffer = this.#buffers.get(key);
    if (buffer === undefined) {
      const tensor = this.dense(id);
      buffer = this.#memory.storage(this.#program.buffers[id]?.name ?? key, 4 * tensor.rows * tensor.cols);
      this.#buffers.set(key, buffer);
      const length = tensorBytes(tensor);
      this.uploads.push({ tensor, buffer, at: 0, from: 0, length, isWidened: true });
    }
    return buffer;
  }

  /** A large dense matrix as it lies in its file, in as many buffers as bindings need. */
  table(id: BufferId): Shard[] {
    let shards = this.#shards.get(id);
    if (shards !== undefined) return shards;
    const tensor = this.dense(id);
    const rowBytes = tensorBytes(tensor) / tensor.rows;
    // Four rows of whatever size are whole words.
    const rowsPerShard = Math.floor(this.#memory.mostBytes / (4 * rowBytes)) * 4;
    if (rowsPerShard < 4) throw unsupported(`rows of ${rowBytes} bytes`);
    shards = [];
    for (let firstRow = 0; firstRow < tensor.rows; firstRow += rowsPerShard) {
      const shardRows = Math.min(rowsPerShard, tensor.rows - firstRow);
      const length = shardRows * rowBytes;
      const name = this.#program.buffers[id]?.name ?? "table";
      const buffer = this.#memory.storage(name, length);
      this.uploads.push({ tensor, buffer, at: 0, from: firstRow * rowBytes, length, isWidened: false });
      shards.push({ buffer, firstRow, shardRows });
    }
    this.#shards.set(id, shards);
    return shards;
  }

  /** Stands where a product has fewer results than its kernel. */
  unused(i: number): GPUBuffer {
    const key = `unused ${i}`;
    const buffer = this.#buffers.get(key) ?? this.#memory.storage(key, 16);
    this.#buffers.set(key, buffer);
    return buffer;
  }

  dense(id: BufferId): DenseTensor {
    const decl = this.#program.buffers[id];
    return decl?.class === "weight" && decl.tensor.kind === "dense" ? decl.tensor : missing(id);
  }

  ternary(id: BufferId): TernaryTensor {
    const decl = this.#program.buffers[id];
    return decl?.class === "weight" && decl.tensor.kind === "ternary" ? decl.tensor : missing(id);
  }
}

/** What matrices of one dispatch have in common. */
export function kindOf({ scale }: TernaryTensor): string {
  return scale.kind === "group" ? `group ${scale.size}` : "row";
}

/** One scale for each row of matrices that stand one below the other, or one for each of its groups. */
function scalesOf(tensors: readonly TernaryTensor[]): Float32Array<ArrayBuffer> {
  const parts = tensors.map(({ rows, scale }) =>
    scale.kind === "tensor" ? new Float32Array(rows).fill(scale.value) : scale.values,
  );
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function unsupported(what: string): BitNetError {
  return new BitNetError("MODEL_UNSUPPORTED", `webgpu: the model has ${what}`);
}

export function missing(buffer: BufferId): never {
  throw new BitNetError("INTERNAL", `webgpu: buffer ${buffer} is not what its operation expects`);
}
