/** A dispatch as it is planned, and as it is made ready once for all steps: its pipelines, its operands bound, its parameters in one uniform buffer. */
import { BitNetError } from "@bitnet.ts/core";
import { usage } from "./device.ts";
import type { Kernel } from "./kernels/kernel.ts";
import type { DeviceMemory } from "./memory.ts";

export interface Dispatch {
  kernel: Kernel;
  /** For steps of more than one row, where that is another. */
  many?: { kernel: Kernel; tile: number };
  /** By the names that the kernel gives them. */
  params: Readonly<Record<string, number>>;
  operands: readonly GPUBuffer[];
  /** Workgroups along x; along y there is one a row, or for each tile of rows. */
  x: number;
}

export interface ReadyDispatch {
  one: GPUComputePipeline;
  many: GPUComputePipeline;
  tile: number;
  usesRows: boolean;
  operands: GPUBindGroup;
  x: number;
}

/** Where bindings of a uniform buffer may begin on every adapter. */
const slotBytes = 256;

export async function makeReady(
  memory: DeviceMemory,
  dispatches: readonly Dispatch[],
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
    dispatches.map(async ({ kernel, many, operands, x }, i) => {
      if (x > limit) {
        const text = `webgpu: ${kernel.name} needs ${x} workgroups side by side, the adapter takes ${limit}`;
        throw new BitNetError("MODEL_UNSUPPORTED", text, { details: { x, limit } });
      }
      const [one, other] = await Promise.all([
        device.compile(kernel),
        device.compile(many?.kernel ?? kernel),
      ]);
      const entries = [params, ...operands].map((buffer, binding) => ({
        binding,
        resource: binding === 0 ? { buffer, offset: i * slotBytes, size: slotBytes } : { buffer },
      }));
      return {
        one: one.pipeline,
        many: other.pipeline,
        tile: many?.tile ?? 1,
        usesRows: kernel.usesRows,
        operands: device.gpu.createBindGroup({ label: kernel.name, layout: one.operands, entries }),
        x,
      };
    }),
  );
}

function putParams(view: DataView, { kernel, params }: Dispatch): void {
  for (const [i, declaration] of kernel.params.entries()) {
    const [name = "", type] = declaration.split(/:\s*/);
    const value = params[name];
    if (value === undefined) throw new BitNetError("INTERNAL", `webgpu: ${kernel.name} lacks ${name}`);
    if (type === "f32") view.setFloat32(4 * i, value, true);
    else view.setUint32(4 * i, value, true);
  }
}
