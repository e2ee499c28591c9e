/** Loading, running and letting go: what a device cannot hold, what is not finite, lost devices, processes that end. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import {
  BitNetError,
  createReferenceBackend,
  type Executable,
  type Program,
  type Step,
} from "@bitnet.ts/core";
import { conformanceCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it, vi } from "vitest";
import { WebGpuBackend } from "./backend.ts";
import { Device } from "./device.ts";
import { createWebGpuBackend } from "./index.ts";
import { loadExecutable } from "./load.ts";
import { backend, device } from "./test-device.test.kit.ts";

const options = { kvType: "f16", nPages: 4, maxRows: 64 } as const;

function caseNamed(name: string) {
  const found = conformanceCases().find((testCase) => testCase.name === name);
  if (found === undefined) throw new Error(`no case "${name}"`);
  return found;
}

async function failureOf(work: Promise<unknown>): Promise<BitNetError> {
  return work.then(
    () => expect.fail("nothing failed"),
    (error) => error as BitNetError,
  );
}

const residual = caseNamed("residual 7");
const head = caseNamed("head f16 1001 × 96");

/** A device whose adapter grants bindings of so few bytes. */
async function narrowDevice(bytes: number): Promise<Device> {
  const opened = await Device.open();
  Object.assign(opened.report, { limits: { ...opened.report.limits, maxStorageBufferBindingSize: bytes } });
  return opened;
}

async function run(executable: Executable, step: Step) {
  try {
    return await executable.run(step);
  } finally {
    await executable.dispose();
  }
}

describe.skipIf(backend === null)("a loaded program", () => {
  it("splits a table that one binding cannot hold, with the same answers", async () => {
    const opened = await narrowDevice(2 ** 16);
    const made: number[] = [];
    const create = opened.gpu.createBuffer.bind(opened.gpu);
    opened.gpu.createBuffer = (descriptor) => {
      if (descriptor.label === "table") made.push(descriptor.size);
      return create(descriptor);
    };
    const [step] = head.steps;
    if (step === undefined) throw new Error("no step");
    const heads = step.heads.filter(({ want }) => want.kind === "top" || want.kind === "all");
    const whole = await device().load(head.program, { ...options, maxRows: head.maxRows });
    const split = await loadExecutable(opened, head.program, { ...options, maxRows: head.maxRows });
    expect(await run(split, { ...step, heads })).toEqual(await run(whole, { ...step, heads }));
    // 1001 rows of 96 halves.
    expect(made).toHaveLength(3);
    expect(Math.max(...made)).toBeLessThanOrEqual(2 ** 16);
    opened.destroy();
  });

  it("that is too large for the bindings is refused with the sizes", async () => {
    const opened = await narrowDevice(2 ** 12);
    const error = await failureOf(loadExecutable(opened, caseNamed("residual 2560").program, options));
    expect(error).toMatchObject({ code: "OUT_OF_MEMORY" });
    expect(error.message).toMatch(/takes 1 MB, but .* binds at most 1 MB at once/);
    opened.destroy();
  });

  it("is disposed once and then refuses steps", async () => {
    const executable = await device().load(residual.program, options);
    const [step] = residual.steps;
    if (step === undefined) throw new Error("no step");
    const running = executable.run(step);
    // Until it has begun.
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([executable.dispose(), executable.dispose()]);
    expect((await running).outputs).toHaveLength(2);
    expect(await failureOf(executable.run(step))).toMatchObject({ code: "DISPOSED" });
  });

  it("runs steps that are asked for at once one after the other, as they were when they were asked for", async () => {
    const executable = await device().load(residual.program, options);
    const [step] = residual.steps;
    if (step === undefined) throw new Error("no step");
    const inputs = (step.inputs ?? []).map(({ buffer, values }) => ({ buffer, values: values.slice() }));
    const results = Promise.all([executable.run({ ...step, inputs }), executable.run({ ...step, inputs })]);
    for (const { values } of inputs) values.fill(0);
    const reference = await createReferenceBackend().load(residual.program, options);
    const expected = await run(reference, step);
    for (const result of await results) expect(result.outputs[1]).toEqual(expected.outputs[1]);
    await executable.dispose();
  });

  it("stops when it is told to while weights are brought", async () => {
    const signal = AbortSignal.abort();
    expect(await failureOf(device().load(residual.program, { ...options, signal }))).toMatchObject({
      code: "ABORTED",
    });
  });

  it("is brought in pieces, each on the device before the next is read, told of as they come", async () => {
    const [vocabSize, cols, mebi] = [9000, 1024, 2 ** 20];
    const size = 2 * vocabSize * cols;
    const opened = await Device.open();
    const log: string[] = [];
    const write = opened.gpu.queue.writeBuffer.bind(opened.gpu.queue);
    opened.gpu.queue.writeBuffer = (buffer, at, data, ...rest) => {
      if (data.byteLength >= mebi) log.push(`write ${data.byteLength} at ${at}`);
      write(buffer, at, data, ...rest);
    };
    const large: Program = {
      ...{ name: "large", contextLength: 4, vocabSize },
      sources: [
        {
          ...{ kind: "stream", name: "large", size },
          read: async (offset, length) => {
            log.push(`read ${length} at ${offset}`);
            return new Uint8Array(length);
          },
        },
      ],
      buffers: [
        { class: "activation", name: "x", type: "f32", cols },
        {
          class: "weight",
          name: "table",
          tensor: { kind: "dense", type: "f16", source: 0, offset: 0, rows: vocabSize, cols },
        },
      ],
      ops: [{ op: "embed", table: 1, out: 0 }],
    };
    const fractions: number[] = [];
    const executable = await loadExecutable(opened, large, {
      ...options,
      onProgress: (fraction) => void fractions.push(fraction),
    });
    const second = size - 16 * mebi;
    expect(log).toEqual([
      `read ${16 * mebi} at 0`,
      `write ${16 * mebi} at 0`,
      `read ${second} at ${16 * mebi}`,
      `write ${second} at ${16 * mebi}`,
    ]);
    expect(fractions).toEqual([(16 * mebi) / size, 1]);
    await executable.dispose();
    opened.destroy();
  });

  it("says that a source ended early", async () => {
    const short: Program = {
      ...head.program,
      sources: head.program.sources.map((source) =>
        source.kind === "bytes"
          ? {
              kind: "stream",
              name: source.name,
              size: source.bytes.length,
              read: async () => new Uint8Array(3),
            }
          : source,
      ),
    };
    expect(await failureOf(device().load(short, options))).toMatchObject({ code: "FORMAT_TRUNCATED" });
  });
});

describe.skipIf(backend === null)("a device", () => {
  it("that is lost fails the step and every step after it, and the next load opens another", async () => {
    const opened = await Device.open();
    const own = new WebGpuBackend(opened);
    const executable = await own.load(residual.program, options);
    const [step] = residual.steps;
    if (step === undefined) throw new Error("no step");
    // A bad command is the nearest thing to a loss that a page may cause.
    opened.gpu.createBindGroup({ layout: opened.countLayout, entries: [] });
    await opened.gpu.queue.onSubmittedWorkDone();
    const error = await failureOf(executable.run(step));
    expect(error).toMatchObject({ code: "BACKEND_FAILED" });
    expect(error.message).toMatch(/^webgpu: .*: /);
    await executable.dispose();
    const opening = vi.spyOn(Device, "open");
    const both = Promise.all([own.load(residual.program, options), own.load(residual.program, options)]);
    for (const again of await both) expect((await run(again, step)).outputs).toHaveLength(2);
    expect(opening).toHaveBeenCalledOnce();
    opening.mockRestore();
    await own.dispose();
  });

  it("whose driver fails at the known answers in any way is unavailable, and that is no mere absence", async () => {
    const loading = vi.spyOn(WebGpuBackend.prototype, "load");
    loading.mockRejectedValueOnce(new BitNetError("BACKEND_FAILED", "webgpu: card does not compile head"));
    const error = await failureOf(createWebGpuBackend());
    expect(error).toMatchObject({
      code: "BACKEND_UNAVAILABLE",
      message: "webgpu: the known answers fail: card does not compile head",
      details: {},
    });
    loading.mockRestore();
  });

  it("in software is refused where only hardware will do, and an unknown variant always", async () => {
    const { adapter } = device();
    if (adapter.isFallback) {
      expect(await failureOf(createWebGpuBackend({ allowFallback: false }))).toMatchObject({
        code: "BACKEND_UNAVAILABLE",
        message: expect.stringMatching(/computes in software/),
      });
    }
    expect(await failureOf(createWebGpuBackend({ isa: "wgsl-dot5" }))).toMatchObject({
      code: "BACKEND_UNAVAILABLE",
    });
  });

  it("lets the process end by itself once it has worked", async () => {
    const script = `
      const { createWebGpuBackend } = await import(${JSON.stringify(new URL("../dist/index.js", import.meta.url).href)});
      const backend = await createWebGpuBackend();
      console.log(backend.name);`;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
      timeout: 60_000,
    });
    expect(stdout).toBe("webgpu\n");
  });
});
