/** What a program will take of 32-bit memory, told before anything is read. */
import {
  BitNetError,
  denseByteLength,
  type KvType,
  type LoadOptions,
  type Program,
  pageTokens,
} from "@bitnet.ts/core";
import { pageBytes } from "./engine.ts";

/** Scratch of threads, tables, the module's own data, and what rounding adds. */
const overheadBytes = 64 * 2 ** 20;
const kvElementBytes: Readonly<Record<KvType, number>> = { f16: 2, f32: 4 };

export interface MemoryPlan {
  weights: number;
  /** The head's table in int8. */
  screen: number;
  activations: number;
  kv: number;
}

export function planMemory(program: Program, { kvType, nPages, maxRows }: LoadOptions): MemoryPlan {
  const plan: MemoryPlan = { weights: 0, screen: 0, activations: 0, kv: 0 };
  for (const buffer of program.buffers) {
    if (buffer.class === "weight") plan.weights += weightBytes(buffer.tensor);
    else if (buffer.class === "kv")
      plan.kv += 2 * nPages * pageTokens * buffer.nKvHeads * buffer.headDim * kvElementBytes[kvType];
    else plan.activations += (maxRows + 16) * (buffer.cols + 128) * (buffer.type === "f32" ? 4 : 1);
  }
  for (const op of program.ops) {
    const table = op.op === "head" ? program.buffers[op.table] : undefined;
    if (table?.class !== "weight") continue;
    const { rows, cols } = table.tensor;
    plan.screen += rows * (Math.ceil(cols / 64) * 64 + 12);
    plan.activations += Math.min(maxRows, 32) * (rows + 16) * 4;
  }
  return plan;
}

export function weightBytes(
  tensor: Extract<Program["buffers"][number], { class: "weight" }>["tensor"],
): number {
  return tensor.kind === "ternary"
    ? tensor.rows * Math.ceil(tensor.cols / 128) * 32
    : denseByteLength(tensor.type, tensor.rows * tensor.cols);
}

/**
 * @param pages Of memory that may be had.
 * @returns Whether there is room for the copy of the head's table as well.
 * @throws BitNetError OUT_OF_MEMORY with the arithmetic.
 */
export function checkFits(name: string, plan: MemoryPlan, pages: number): boolean {
  const { weights, activations, kv, screen } = plan;
  const room = (pages - 1) * pageBytes;
  const needed = weights + activations + kv + overheadBytes;
  if (needed + screen <= room) return true;
  if (needed <= room) return false;
  const parts = `${mega(weights)} of weights + ${mega(activations)} of activations + ${mega(kv)} of KV cache + ${mega(overheadBytes)} of scratch = ${mega(needed)}`;
  throw new BitNetError(
    "OUT_OF_MEMORY",
    `wasm: ${name} does not fit: ${parts}, but WebAssembly has ${mega(room)} of memory here; ` +
      (weights + activations + overheadBytes < room
        ? "ask for a shorter context or fewer cacheTokens, or take the native backend"
        : "take a smaller model or the native backend"),
    { details: { ...plan, needed, room } },
  );
}

function mega(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}
