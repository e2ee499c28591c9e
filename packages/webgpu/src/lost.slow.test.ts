/** Devices that go away while they work: what runs fails with a code, what comes after too, and the model can be loaded again with the same answers. */
import {
  type BitNetError,
  bindModel,
  describeModel,
  type Executable,
  openModelFiles,
  type Program,
  type Step,
} from "@bitnet.ts/core";
import { conformanceCases } from "@bitnet.ts/core/conformance";
import { openPath } from "@bitnet.ts/core/node";
import { beforeAll, describe, expect, it } from "vitest";
import { WebGpuBackend } from "./backend.ts";
import { Device } from "./device.ts";
import { backend } from "./test-device.test.kit.ts";

const options = { kvType: "f16", nPages: 4, maxRows: 8 } as const;
const step: Step = {
  tokens: Int32Array.of(3, 1, 4),
  positions: Int32Array.of(0, 1, 2),
  sequences: new Int32Array(3),
  pageTables: [Int32Array.of(0)],
  heads: [{ row: 2, want: { kind: "top", k: 1 } }],
};
let program: Program;

/** A program that takes as good as no time to load. */
function caseOf(wanted: string): Program {
  const found = conformanceCases().find(({ name }) => name === wanted);
  if (found === undefined) throw new Error(`no case "${wanted}"`);
  return found.program;
}

beforeAll(async () => {
  const path = new URL("../../../test/golden/tiny.gguf", import.meta.url).pathname;
  const files = await openModelFiles(await openPath(path), {});
  const model = describeModel(files, "tiny");
  program = await bindModel(model, model.config);
  await files.close();
});

async function failureOf(work: Promise<unknown> | undefined): Promise<BitNetError> {
  return (work ?? Promise.resolve()).then(
    () => expect.fail("nothing failed"),
    (error) => error as BitNetError,
  );
}

const lost = {
  code: "BACKEND_FAILED",
  message: expect.stringMatching(/^webgpu: .*: the device was lost \(.+\); load the model again$/),
};

describe.skipIf(backend === null)("a device that is destroyed", { timeout: 180_000 }, () => {
  it("in the middle of a step fails it, those that wait and those that come; loaded again, the model answers as before", async () => {
    const device = await Device.open();
    const own = new WebGpuBackend(device);
    const executable = await own.load(program, options);
    const before = (await executable.run(step)).heads[0]?.ids;
    const running = failureOf(executable.run(step));
    const waiting = failureOf(executable.runChain?.(step, 4));
    await new Promise((resolve) => setImmediate(resolve));
    device.gpu.destroy();
    expect(await running).toMatchObject(lost);
    expect(await waiting).toMatchObject(lost);
    expect(await failureOf(executable.run(step))).toMatchObject(lost);
    await executable.dispose();
    const again: Executable = await own.load(program, options);
    expect((await again.run(step)).heads[0]?.ids).toEqual(before);
    await again.dispose();
  });

  it("while a model is loaded fails the load", async () => {
    const device = await Device.open();
    const own = new WebGpuBackend(device);
    const onProgress = () => device.gpu.destroy();
    expect(await failureOf(own.load(caseOf("embed f16"), { ...options, onProgress }))).toMatchObject({
      code: "BACKEND_FAILED",
    });
    const again = await own.load(caseOf("embed f16"), options);
    await again.dispose();
  });
});

describe.skipIf(backend === null)("memory that the device does not have", { timeout: 180_000 }, () => {
  it("is told with what was to be kept in it, and leaves nothing behind", async () => {
    const device = await Device.open();
    // As the scope for it says where a card is full, which cannot be had here; the buffers of the first attempt are there.
    const pop = device.gpu.popErrorScope.bind(device.gpu);
    const kept: GPUBuffer[] = [];
    const create = device.gpu.createBuffer.bind(device.gpu);
    device.gpu.createBuffer = (descriptor) => {
      kept.push(create(descriptor));
      return kept.at(-1) as GPUBuffer;
    };
    let n = 0;
    device.gpu.popErrorScope = async () => {
      const found = await pop();
      return n++ === 0 ? ({ message: "full" } as GPUError) : found;
    };
    const own = new WebGpuBackend(device);
    const error = await failureOf(own.load(caseOf("rmsNormQuant 100 f16"), options));
    expect(error).toMatchObject({
      code: "OUT_OF_MEMORY",
      message: expect.stringMatching(
        /has no room for the weights and buffers of .* MB so far\); ask for a shorter context/,
      ),
    });
    // Destroyed ones cannot be written to.
    device.gpu.pushErrorScope("validation");
    device.gpu.queue.writeBuffer(kept[0] as GPUBuffer, 0, new Uint32Array(4));
    expect((await pop())?.message).toMatch(/destroyed/);
    expect(kept.length).toBeGreaterThan(2);
    const executable = await own.load(caseOf("embed f16"), options);
    await executable.dispose();
    device.destroy();
  });
});
