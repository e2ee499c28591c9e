/** What a token costs, counted: dispatches, submissions, bytes that come back; and that chains of steps give what single ones give. */
import {
  bindModel,
  createReferenceBackend,
  describeModel,
  type Executable,
  openModelFiles,
  type Program,
  type Step,
} from "@bitnet.ts/core";
import { openFileSource, openPath } from "@bitnet.ts/core/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebGpuBackend } from "./backend.ts";
import { Device } from "./device.ts";
import { backend } from "./test-device.test.kit.ts";

const options = { kvType: "f16", nPages: 16, maxRows: 64 } as const;
const pages = Int32Array.from({ length: 8 }, (_, i) => i);

let program: Program;
let device: Device;
let executable: Executable;
const done = { dispatches: 0, submissions: 0, readBytes: 0 };

/** Counts what the device is given. */
function count(gpu: GPUDevice): void {
  const submit = gpu.queue.submit.bind(gpu.queue);
  gpu.queue.submit = (buffers) => {
    done.submissions++;
    submit(buffers);
  };
  const createEncoder = gpu.createCommandEncoder.bind(gpu);
  gpu.createCommandEncoder = () => {
    const encoder = createEncoder();
    const copy = encoder.copyBufferToBuffer.bind(encoder) as (...given: unknown[]) => void;
    encoder.copyBufferToBuffer = ((...given: unknown[]) => {
      done.readBytes += Number(given.at(-1));
      copy(...given);
    }) as typeof encoder.copyBufferToBuffer;
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = () => {
      const pass = begin();
      const dispatch = pass.dispatchWorkgroups.bind(pass);
      pass.dispatchWorkgroups = (...given) => {
        done.dispatches++;
        dispatch(...given);
      };
      return pass;
    };
    return encoder;
  };
}

function stepOf(tokens: readonly number[], first: number): Step {
  return {
    tokens: Int32Array.from(tokens),
    positions: Int32Array.from(tokens, (_, i) => first + i),
    sequences: new Int32Array(tokens.length),
    pageTables: [pages],
    heads: [{ row: tokens.length - 1, want: { kind: "top", k: 1 } }],
  };
}

async function costOf<T>(work: () => Promise<T>): Promise<{ value: T } & typeof done> {
  Object.assign(done, { dispatches: 0, submissions: 0, readBytes: 0 });
  const value = await work();
  return { value, ...done };
}

beforeAll(async () => {
  if (backend === null) return;
  const files = await openModelFiles(
    await openPath(new URL("../../../test/golden/tiny.gguf", import.meta.url).pathname),
    {},
  );
  const model = describeModel(files, "tiny");
  program = await bindModel(model, model.config);
  await files.close();
  device = await Device.open();
  executable = await new WebGpuBackend(device).load(program, options);
  count(device.gpu);
});
afterAll(async () => {
  await executable?.dispose();
  device?.destroy();
});

describe.skipIf(backend === null)("a token", { timeout: 180_000 }, () => {
  const prompt = [3, 1, 4, 1, 5, 9, 2, 6];

  it("takes ten dispatches a layer, one submission and a few hundred bytes", async () => {
    await executable.run(stepOf(prompt, 0));
    const { dispatches, submissions, readBytes } = await costOf(() =>
      executable.run(stepOf([7], prompt.length)),
    );
    const nLayers = program.buffers.filter((buffer) => buffer.class === "kv").length;
    // Norms and sums with their quantiser, q + k + v, rotation and cache, attention, norm and quantiser, output, sum and norm, gate + up, activation and
    // norm, down. The first sum is the embedding's; after the last comes one of its own, then state, logits and their highest.
    expect(dispatches).toBe(10 * nLayers + 1 + 3);
    expect(submissions).toBe(1);
    expect(readBytes).toBeLessThan(1024);
  });

  it("comes with others in one readback, and is the same", async () => {
    const single: number[] = [];
    const logits: number[] = [];
    let tokens = prompt;
    for (let first = 0; single.length < 4; ) {
      const { heads } = await executable.run(stepOf(tokens, first));
      first += tokens.length;
      tokens = [...(heads[0]?.ids ?? [])];
      single.push(...tokens);
      logits.push(...(heads[0]?.logits ?? []));
    }
    const { heads } = await executable.run(stepOf(prompt, 0));
    expect(heads[0]?.ids[0]).toBe(single[0]);
    const step = stepOf([...(heads[0]?.ids ?? [])], prompt.length);
    const cost = await costOf(async () => executable.runChain?.(step, 3));
    expect(cost.value?.map((each) => each.heads[0]?.ids[0])).toEqual(single.slice(1));
    expect(cost.value?.map((each) => each.heads[0]?.logits[0])).toEqual(logits.slice(1));
    expect(cost.submissions).toBe(3);
    expect(cost.readBytes).toBeLessThan(3 * 1024);
    expect(executable.mostChained).toBe(8);
  });

  it("of several sequences chained side by side is that of each alone", async () => {
    const own = (sequence: number) => Int32Array.from({ length: 4 }, (_, i) => 4 * sequence + i);
    const step: Step = {
      tokens: Int32Array.of(5, 6, 7),
      positions: new Int32Array(3),
      sequences: Int32Array.of(0, 1, 2),
      pageTables: [own(0), own(1), own(2)],
      heads: [2, 0, 1].map((row) => ({ row, want: { kind: "top", k: 1 } })),
    };
    const together = (await executable.runChain?.(step, 2)) ?? [];
    expect(together).toHaveLength(2);
    for (const [i, row] of [2, 0, 1].entries()) {
      const alone = await executable.runChain?.({ ...stepOf([5 + row], 0), pageTables: [own(3)] }, 2);
      expect(together.map(({ heads }) => heads[i]?.ids[0])).toEqual(
        alone?.map(({ heads }) => heads[0]?.ids[0]),
      );
    }
  });

  it("that needs more than the highest logit is not chained", async () => {
    const step = stepOf([7], 0);
    const apart = { ...step, heads: [{ row: 0, want: { kind: "top", k: 2 } as const }] };
    expect(await executable.runChain?.(apart, 8)).toHaveLength(1);
    const reported = { ...step, heads: [{ row: 0, want: { kind: "top", k: 1 } as const, logSumExp: true }] };
    expect(await executable.runChain?.(reported, 8)).toHaveLength(1);
  });

  it("without forbidden ids is the reference's, chained too", async () => {
    const { heads } = await executable.run(stepOf(prompt, 0));
    const apart = Int32Array.from(heads[0]?.ids ?? []);
    const step = {
      ...stepOf(prompt, 0),
      heads: [{ row: prompt.length - 1, want: { kind: "top", k: 1 } as const, apart }],
    };
    const reference = await createReferenceBackend({ openFile: openFileSource }).load(program, options);
    const expected = (await reference.run(step)).heads[0];
    const found = (await executable.run(step)).heads[0];
    expect(found?.ids).toEqual(expected?.ids);
    expect(found?.apartLogits[0]).toBeCloseTo(expected?.apartLogits[0] ?? 0, 2);
    const next = {
      ...stepOf([...(found?.ids ?? [])], prompt.length),
      heads: [{ row: 0, want: { kind: "top", k: 1 } as const, apart }],
    };
    const chained = await executable.runChain?.(next, 2);
    expect(chained?.map((each) => each.heads[0]?.ids[0])).not.toContain(apart[0]);
    expect(chained).toHaveLength(2);
    await reference.dispose();
  });
});
