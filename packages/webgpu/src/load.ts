/** Loads a Program onto a device: plans its dispatches, makes its buffers, brings its weights in pieces, compiles its kernels. */
import {
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
import type { Device } from "./device.ts";
import { makeReady } from "./dispatch.ts";
import { WebGpuExecutable } from "./executable.ts";
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
    const ready = {
      rows: await makeReady(memory, plan.dispatches),
      head: await makeReady(memory, plan.head?.dispatches ?? []),
    };
    throwIfAborted(options.signal);
    device.assertWell();
    return await WebGpuExecutable.create({ program: fitted, options, memory, plan, ready });
  } catch (error) {
    memory.free();
    throw error;
  }
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
  try {
    for (const { tensor, buffer, at, from, length, isWidened } of uploads) {
      if (isWidened && tensor.kind === "dense") await bringWidened(reader, tensor, device, buffer);
      else await upload(reader, tensor, { device, buffer, at }, { from, length });
      device.assertWell();
      done += length;
      onProgress?.(done / total);
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
