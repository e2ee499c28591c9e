/** How fast the device reads its memory when it does nothing else. */
import { type AdapterReport, Device } from "./device.ts";
import { makeReady } from "./dispatch.ts";
import { bareRead, vectorsPerThread } from "./kernels/bare-read.ts";
import { DeviceMemory } from "./memory.ts";
import { Pass } from "./pass.ts";
import { StepBuffers } from "./step-buffers.ts";
import { waitFor } from "./waiting.ts";

export interface BandwidthOptions {
  /** Bytes of the buffer that is read, at most; larger than any cache. Default 1 GiB, or what the adapter binds at once. */
  bytes?: number;
  /** The measurement takes at least so long. Default 200. */
  leastMs?: number;
}

/** Read by one workgroup. */
const groupBytes = 16 * vectorsPerThread * 256;

export interface Bandwidth {
  bytesPerSecond: number;
  adapter: AdapterReport;
}

/** @throws BitNetError BACKEND_UNAVAILABLE, OUT_OF_MEMORY. */
export async function measureGpuBandwidth({
  bytes = 2 ** 30,
  leastMs = 200,
}: BandwidthOptions = {}): Promise<Bandwidth> {
  const device = await Device.open();
  const memory = new DeviceMemory(device);
  try {
    const nGroups = Math.max(1, Math.floor(Math.min(bytes, memory.mostBytes) / groupBytes));
    const x = Math.min(nGroups, 1024);
    const y = Math.max(1, Math.floor(nGroups / x));
    const { buffer, out } = await memory.reserving("the buffer that is read", () => ({
      buffer: memory.storage("read", x * y * groupBytes),
      out: memory.storage("out", 16),
    }));
    const dispatch = {
      variants: [{ kernel: bareRead, least: 1, tile: 1, x }],
      params: { nGroups: x },
      operands: [buffer, out],
    };
    const [read] = await makeReady(memory, [dispatch], y);
    const step = new StepBuffers(memory, 1);
    step.writeNumbers({ nRows: y, nRequests: 0, nSplits: 1 });
    const secondsOf = async (times: number) => {
      const begin = performance.now();
      const encoder = device.gpu.createCommandEncoder();
      const computing = encoder.beginComputePass();
      const pass = new Pass(computing, { rows: step.rowsGroup, count: step.countGroup });
      for (let i = 0; i < times && read; i++) pass.dispatch(read, { rows: y, blocksOf: null });
      computing.end();
      device.gpu.queue.submit([encoder.finish()]);
      await waitFor(device.gpu, device.gpu.queue.onSubmittedWorkDone());
      device.assertWell();
      return (performance.now() - begin) / 1000;
    };
    await secondsOf(1);
    for (let times = 1; ; times *= 2) {
      const seconds = await secondsOf(times);
      // Beside the reading there is what a submission takes.
      if (1000 * seconds >= leastMs)
        return { bytesPerSecond: (times * x * y * groupBytes) / seconds, adapter: device.report };
    }
  } finally {
    memory.free();
    device.destroy();
  }
}
