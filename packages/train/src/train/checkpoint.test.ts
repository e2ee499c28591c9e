/** A disk that is full, wherever the writing of a checkpoint stands: the one before stays, and serves. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { smallExecutor } from "../graph/small-model.test.kit.ts";
import { referenceKernels } from "../kernels/reference/reference-kernels.ts";
import { listCheckpoints, restoreNewest, saveCheckpoint, type TrainingState } from "./checkpoint.ts";
import { defaultOptimizer, Optimizer } from "./optimizer.ts";

/** Bytes that the disk has left; writing takes of them. */
let room = Number.POSITIVE_INFINITY;

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  const limited = (file: FileHandle): FileHandle => {
    const write = file.write.bind(file) as (bytes: Uint8Array, ...rest: number[]) => Promise<unknown>;
    const writeWithin = async (bytes: Uint8Array, offset = 0) => {
      const n = Math.min(room, bytes.length - offset);
      if (n <= 0)
        throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
      room -= n;
      return write(bytes, offset, n); // what there is room for, as disks do
    };
    return new Proxy(file, {
      get: (target, key) => {
        if (key === "write") return writeWithin;
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };
  const open: typeof real.open = async (...args) => limited(await real.open(...args));
  return { ...real, open };
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-checkpoint-"));
});
afterEach(() => {
  room = Number.POSITIVE_INFINITY;
  rmSync(folder, { recursive: true, force: true });
});

it("leaves the checkpoint before it as it was, nothing half-written, and is told with its path", async () => {
  const executor = smallExecutor(referenceKernels("f32"));
  const optimizer = new Optimizer(executor, defaultOptimizer);
  const state = (step: number): TrainingState => ({
    ...{ step, tokens: 10 * step, best: null, recipe: "r" },
    data: { taken: [step], tokens: [step] },
  });
  const save = (step: number) => saveCheckpoint(folder, executor, optimizer, state(step), { keep: 3 });
  const weights = executor.parameters[0] as Float32Array;
  const values = weights.slice();
  room = 2 ** 30;
  await save(1);
  const nBytes = 2 ** 30 - room;
  weights.fill(0.25);
  for (const share of [0, 0.001, 0.3, 0.7, 0.98, 0.9999]) {
    room = Math.floor(share * nBytes);
    await expect(save(2), `${share}`).rejects.toMatchObject({
      code: "IO_FAILED",
      message: expect.stringMatching(/step-00000002.*ENOSPC/),
    });
    expect(readdirSync(folder)).toEqual(["step-00000001"]);
  }
  room = Number.POSITIVE_INFINITY;
  const damaged: string[] = [];
  const restored = await restoreNewest(folder, executor, optimizer, ["r"], (line) => damaged.push(line));
  expect([restored, damaged]).toEqual([{ ...state(1) }, []]);
  expect(weights).toEqual(values);
  await save(2);
  expect(listCheckpoints(folder)).toEqual([2, 1]);
});
