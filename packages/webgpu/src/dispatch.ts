/** A dispatch as it is planned, and as it is made ready once for all steps: its pipelines, its operands bound, its parameters in one uniform buffer. */
import { BitNetError } from "@bitnet.ts/core";
import { usage } from "./device.ts";
import type { Kernel } from "./kernels/kernel.ts";
import type { DeviceMemory } from "./memory.ts";

interface Variant<K> {
  kernel: K;
  /** Taken from so many rows (or requests) on. */
  least: number;
  /** Rows of a workgroup along y. */
  tile: number;
  /** Workgroups along x. */
  x: number;
}

/** Of attention: by a workgroup that goes through all blocks of a row, or by one for each block and then their sum. */
interface Blocks {
  runs: "whole" | "blocks" | "sum";
  window: number;
}

export interface Dispatch {
  /** All with the same parameters and operands; the last that is not for more rows is taken. */
  variants: readonly Variant<Kernel>[];
  /** By the names that the kernel gives them. */
  params: Readonly<Record<string, number>>;
  operands: readonly GPUBuffer[];
  blocks?: Blocks;
}

export interface ReadyDispatch {
  variants: readonly Variant<GPUComputePipeline>[];
  usesRows: boolean;
  operands: GPUBindGroup;
  blocks?: Blocks;
}

/** Where bindings of a uniform buffer may begin on every adapter. */
export const slotBytes = 256;

/** @param maxRows No kernel is compiled that would be for more rows. */
export async function makeReady(
  memory: DeviceMemory,
  dispatches: readonly Dispatch[],
  maxRows: number,
): Promise<ReadyDispatch[]> {
  const { device } = memory;
  const size = Math.max(1, dispatches.length) * slotBytes;
  const words = new ArrayBuffer(size);
  for (const [i, dispatch] of dispatches.entries()) putParams(new DataView(words, i * slotBytes), dispatch);
  const params = await memory.reserving("parameters", () =>
    memory.buffer("parameters", size, usage.uniform | usage.copyDst),
  );
  device.gpu.queue.writeBuffer(params, 0, words);
  const limit = device.report.limits.maxComputeWorkgroupsPerDimension;
  return Promise.all(
    dispatches.map(async ({ variants: all, operands, blocks }, i) => {
      const variants = all.filter(({ least }) => least <= maxRows);
      const compiled = await Promise.all(
        variants.map(async ({ kernel, ...rest }) => {
          if (rest.x > limit) {
            const text = `webgpu: ${kernel.name} needs ${rest.x} workgroups side by side, the adapter takes ${limit}`;
            throw new BitNetError("MODEL_UNSUPPORTED", text, { details: { x: rest.x, limit } });
          }
          return { ...rest, ...(await device.compile(kernel)) };
        }),
      );
      const [first] = compiled;
      const [{ kernel } = { kernel: undefined }] = variants;
      if (first === undefined || kernel === undefined)
        throw new BitNetError("INTERNAL", "webgpu: a dispatch without a kernel");
      const entries = [params, ...operands].map((buffer, binding) => ({
        binding,
        resource: binding === 0 ? { buffer, offset: i * slotBytes, size: slotBytes } : { buffer },
      }));
      return {
        variants: compiled.map(({ pipeline, least, tile, x }) => ({ kernel: pipeline, least, tile, x })),
        usesRows: kernel.usesRows,
        operands: device.gpu.createBindGroup({ label: kernel.name, layout: first.operands, entries }),
        ...(blocks ? { blocks } : {}),
      };
    }),
  );
}

function putParams(view: DataView, { variants, params }: Dispatch): void {
  const kernel = variants[0]?.kernel;
  for (const [i, declaration] of (kernel?.params ?? []).entries()) {
    const [name = "", type] = declaration.split(/:\s*/);
    const value = params[name];
    if (value === undefined) throw new BitNetError("INTERNAL", `webgpu: ${kernel?.name} lacks ${name}`);
    if (type === "f32") view.setFloat32(4 * i, value, true);
    else view.setUint32(4 * i, value, true);
  }
}
