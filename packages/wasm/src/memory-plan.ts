/** What a program will take of 32-bit memory, told before anything is read. */
import {
  BitNetError,
  denseByteLength,
  type KvType,
  type LoadOptions,
  type Program,
  pageTokens,
} from "@bitnet.ts/core";
import { type PagesWanted, pageBytes } from "./engine.ts";

/** Of 4 GiB, the most that 32-bit addresses reach. */
export const mostPages = 65536;
/** Tables, the module's own data, what a step asks for, and what rounding adds. */
const overheadBytes = 64 * 2 ** 20;
/** Scratch and stack of a thread. */
const threadBytes = 3 * 2 ** 20;
const kvElementBytes: Readonly<Record<KvType, number>> = { f16: 2, f32: 4 };

export interface MemoryPlan {
  /** As they lie in files, each once, and norms and rotations once more in f32. */
  weights: number;
  /** The head's table in int8. */
  screen: number;
  activations: number;
  kv: number;
  scratch: number;
}

/** @param screening Whether a copy of the head's table is asked for. */
export function planMemory(
  program: Program,
  { kvType, nPages, maxRows }: LoadOptions,
  { threads, screening }: { threads: number; screening: boolean },
): MemoryPlan {
  const scratch = overheadBytes + threads * threadBytes;
  const plan: MemoryPlan = { weights: 0, screen: 0, activations: 0, kv: 0, scratch };
  const places = new Set<string>();
  for (const buffer of program.buffers) {
    if (buffer.class === "weight") {
      const { tensor } = buffer;
      const place = `${tensor.source} ${tensor.offset} ${weightBytes(tensor)}`;
      if (!places.has(place)) plan.weights += weightBytes(tensor);
      places.add(place);
    } else if (buffer.class === "kv")
      plan.kv += 2 * nPages * pageTokens * buffer.nKvHeads * buffer.headDim * kvElementBytes[kvType];
    else plan.activations += (maxRows + 16) * (buffer.cols + 128) * (buffer.type === "f32" ? 4 : 1);
  }
  for (const id of vectorsOf(program)) {
    const vector = program.buffers[id];
    if (vector?.class === "weight") plan.weights += vector.tensor.rows * vector.tensor.cols * 4;
  }
  const heads = program.ops.filter((op) => op.op === "head");
  for (const { table: id } of heads) {
    const table = program.buffers[id];
    if (table?.class !== "weight") continue;
    const { rows, cols } = table.tensor;
    // Of several heads none is screened.
    if (screening && heads.length === 1) plan.screen = rows * (Math.ceil(cols / 64) * 64 + 12);
    plan.activations += Math.min(maxRows, 32) * (rows + 16) * 4;
  }
  return plan;
}

/** Weights that are kept in f32: norms, and tables of rotations. */
function vectorsOf({ ops }: Program): Set<number> {
  const ids = new Set<number>();
  for (const op of ops) {
    if (op.op === "ropeKv" || op.op === "rope") ids.add(op.table);
    if (op.op === "rmsNormQuant" || op.op === "rmsNorm" || op.op === "head") ids.add(op.weight);
    if (op.op === "bias") ids.add(op.bias);
  }
  return ids;
}

export function weightBytes(
  tensor: Extract<Program["buffers"][number], { class: "weight" }>["tensor"],
): number {
  return tensor.kind === "ternary"
    ? tensor.rows * Math.ceil(tensor.cols / 128) * 32
    : denseByteLength(tensor.type, tensor.rows * tensor.cols);
}

/** Without the copy of the head's table, and with it. */
export function pagesOf({ weights, activations, kv, scratch, screen }: MemoryPlan): PagesWanted {
  // The last page of 4 GiB is never used.
  const pages = (bytes: number) => Math.ceil(bytes / pageBytes) + 1;
  const needed = weights + activations + kv + scratch;
  return { least: pages(needed), best: pages(needed + screen) };
}

/** @throws BitNetError OUT_OF_MEMORY with the arithmetic where a memory of so many pages is too small, even without the head's copy. */
export function checkFits(name: string, plan: MemoryPlan, pages: number): void {
  if (pagesOf(plan).least > pages) throw tooLarge(name, plan, pages);
}

function tooLarge(name: string, plan: MemoryPlan, pages: number): BitNetError {
  const { weights, activations, kv, scratch } = plan;
  const room = (pages - 1) * pageBytes;
  const needed = weights + activations + kv + scratch;
  const parts = `${mega(weights)} of weights + ${mega(activations)} of activations + ${mega(kv)} of KV cache + ${mega(scratch)} of scratch = ${mega(needed)}`;
  const advice =
    weights + activations + scratch < room
      ? "ask for a shorter context or fewer cacheTokens, or take the native or the webgpu backend"
      : "take a smaller model, or the native or the webgpu backend";
  return new BitNetError(
    "OUT_OF_MEMORY",
    `wasm: ${name} does not fit: ${parts}, but WebAssembly has ${mega(room)} of memory here; ${advice}`,
    { details: { ...plan, needed, room } },
  );
}

function mega(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}
