/** Loads a Program onto a device: plans its dispatches, makes its buffers, brings its weights in pieces, compiles its kernels. */
import {
  BitNetError,
  type DenseTensor,
  denseByteLength,
  fitProgram,
  type LoadOptions,
  opNames,
  type Program,
  throwIfAborted,
  validateLoadOptions,
  validateProgram,
  widenRows,
} from "@bitnet.ts/core";
import { type Device, usage } from "./device.ts";
import { makeReady } from "./dispatch.ts";
import type { DrawPlan } from "./draw-plan.ts";
import { type ReadyDraws, type ReadyHead, WebGpuExecutable } from "./executable.ts";
import type { HeadPlan } from "./head-plan.ts";
import { DeviceMemory, upload, WeightReader } from "./memory.ts";
import { type DevicePlan, planDispatches } from "./plan.ts";

/** Of f32 that are widened at a time. */
const widenedBytes = 2 ** 22;

/**
 * @throws BitNetError OUT_OF_MEMORY with the sizes where the device has no room, MODEL_UNSUPPORTED, BACKEND_FAILED, ABORTED, and those of the
 * sources.
 */
export async function loadExecutable(
  device: Device,
  program: Program,
  options: LoadOptions,
): Promise<WebGpuExecutable> {
  throwIfAborted(options.signal);
  validateProgram(program);
  validateLoadOptions(options);
  const fitted = fitProgram(program, "webgpu", opNames);
  const memory = new DeviceMemory(device);
  try {
    const plan = await memory.reserving(`the weights and buffers of ${program.name}`, () =>
      planDispatches(fitted, options, memory),
    );
    for (const { buffer, values } of plan.constants) device.gpu.queue.writeBuffer(buffer, 0, values);
    await bringWeights(device, fitted, plan, options);
    const rows = await makeReady(memory, plan.dispatches, options.maxRows);
    const head = plan.head === null ? null : await readyHead(memory, plan.head);
    throwIfAborted(options.signal);
    device.assertWell();
    return await WebGpuExecutable.create({ program: fitted, options, memory, plan, rows, head });
  } catch (error) {
    memory.free();
    throw error;
  }
}

async function readyHead(memory: DeviceMemory, plan: HeadPlan): Promise<ReadyHead> {
  const { dispatches, next, draw, most } = plan;
  const { states, logits, best, pick } = dispatches;
  const [readyStates, readyBest, readyPick, ...shards] = await makeReady(
    memory,
    [states, best, pick, ...logits],
    most,
  );
  if (readyStates === undefined || readyBest === undefined || readyPick === undefined)
    throw new BitNetError("INTERNAL", "webgpu: the head is not ready");
  let draws: Promise<ReadyDraws> | undefined;
  const readyOnce = () => {
    draws ??= readyDraws(memory, draw);
    return draws;
  };
  // Before the first prompt has been read; but where compiling takes the processor from everything else, only once a token is drawn.
  if (!memory.device.report.isFallback) void readyOnce().catch(() => {});
  return {
    states: readyStates,
    logits: shards,
    best: readyBest,
    pick: readyPick,
    next: await readyNext(memory, {
      kernel: next.kernel,
      params: Uint32Array.of(next.nStretches),
      buffers: [plan.best, plan.asked],
    }),
    draws: readyOnce,
  };
}

async function readyDraws(memory: DeviceMemory, { dispatches, next, most }: DrawPlan): Promise<ReadyDraws> {
  const [scores, weights] = await makeReady(memory, [dispatches.scores, dispatches.weights], most);
  if (scores === undefined || weights === undefined)
    throw new BitNetError("INTERNAL", "webgpu: draws are not ready");
  return { scores, weights, next: await readyNext(memory, next) };
}

/** What gives tokens to the rows of the next step, which are bound behind its buffers. */
async function readyNext(
  memory: DeviceMemory,
  { kernel, params, buffers }: DrawPlan["next"],
): Promise<ReadyHead["next"]> {
  const { device } = memory;
  const uniform = memory.buffer(`parameters of ${kernel.name}`, 16, usage.uniform | usage.copyDst);
  device.gpu.queue.writeBuffer(uniform, 0, params);
  const { pipeline, operands: layout } = await device.compile(kernel);
  return { pipeline, layout, buffers: [uniform, ...buffers] };
}

async function bringWeights(
  device: Device,
  program: Program,
  { uploads }: DevicePlan,
  { onProgress, signal }: LoadOptions,
): Promise<void> {
  const reader = new WeightReader(program.sources, signal);
  const total = uploads.reduce((sum, { length }) => sum + length, 0);
  let done = 0;
  const onPiece = (bytes: number) => {
    done += bytes;
    onProgress?.(done / total);
  };
  try {
    for (const { tensor, buffer, at, from, length, isWidened } of uploads) {
      if (isWidened && tensor.kind === "dense") {
        await bringWidened(reader, tensor, device, buffer);
        device.assertWell();
        onPiece(length);
      } else await upload(reader, tensor, { device, buffer, at }, { from, length, onPiece });
    }
  } finally {
    await reader.close();
  }
}

async function bringWidened(
  reader: WeightReader,
  tensor: DenseTensor,
  device: Device,
  buffer: GPUBuffer,
): Promise<void> {
  const { type, rows, cols } = tensor;
  const rowBytes = denseByteLength(type, cols);
  const atOnce = Math.max(1, Math.floor(widenedBytes / (4 * cols)));
  for (let first = 0; first < rows; first += atOnce) {
    const count = Math.min(atOnce, rows - first);
    const values = new Float32Array(count * cols);
    widenRows(type, await reader.read(tensor, first * rowBytes, count * rowBytes), cols, 0, count, values);
    device.gpu.queue.writeBuffer(buffer, 4 * first * cols, values);
  }
}
