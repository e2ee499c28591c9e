/** The denser copy of ternary weights: the same answers, its memory, and the notices where there can be none. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Program, SourceRef } from "@bitnet.ts/core";
import { afterAll, describe, expect, it, vi } from "vitest";
import { openBackend } from "./backend.ts";
import { nativeAllocations } from "./index.ts";
import {
  chainBytes,
  chainProgram,
  chainStep,
  missingAddon,
  options,
  ternaryBytes,
} from "./test-program.test.kit.ts";

/** Bytes of the copy of a square matrix: 320 weights in 64 bytes. */
const denseBytes = (cols: number) => cols * Math.ceil(cols / 320) * 64;

/** Whether this machine repacks; where it does not, a notice must say so and everything else still holds. */
async function repacks(): Promise<boolean> {
  const onNotice = vi.fn();
  const executable = await openBackend(1, undefined).load(chainProgram({ cols: 256, nLayers: 1 }), {
    ...options,
    repack: "dense",
    onNotice,
  });
  await executable.dispose();
  if (onNotice.mock.calls.length === 0) return true;
  expect(onNotice.mock.calls).toEqual([[expect.stringMatching(/^bitnet: no denser copy of the weights: /)]]);
  return false;
}

const canRepack = missingAddon === null && (await repacks());

async function load(program: Program, threads = 2, isa?: string) {
  const backend = openBackend(threads, isa);
  const notices: string[] = [];
  const plain = await backend.load(program, { ...options, repack: "none" });
  const dense = await backend.load(program, {
    ...options,
    repack: "dense",
    onNotice: (line) => notices.push(line),
  });
  const spent = dense.memory().privateBytes - plain.memory().privateBytes;
  return { plain, dense, notices, spent };
}

async function expectSame({ plain, dense }: Awaited<ReturnType<typeof load>>, cols: number) {
  for (const nRows of [1, 2, 3, 4, 5, 33]) {
    const step = chainStep(cols, nRows);
    expect(await dense.run(step)).toEqual(await plain.run(step));
  }
  await Promise.all([plain.dispose(), dense.dispose()]);
}

/** A matrix of 512 columns with one code of 3. */
function withThree(): SourceRef {
  const bytes = ternaryBytes(chainBytes({ cols: 512, nLayers: 1 }), 7);
  bytes[40_000] = 0b00110000;
  return { kind: "bytes", name: "matrix", bytes };
}

/** One scale for 128 columns each. */
function withGroups(cols: number): Program {
  const program = chainProgram({ cols, nLayers: 1 });
  const values = new Float32Array((cols * cols) / 128).fill(1 / 64);
  const buffers = program.buffers.map((buffer) =>
    buffer.class === "weight" && buffer.tensor.kind === "ternary"
      ? { ...buffer, tensor: { ...buffer.tensor, scale: { kind: "group", size: 128, values } as const } }
      : buffer,
  );
  return { ...program, buffers };
}

describe.skipIf(missingAddon)("repack", () => {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-repack-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([256, 640, 2560])("gives the same answers with %i columns", async (cols) => {
    const before = nativeAllocations();
    const loaded = await load(chainProgram({ cols, nLayers: 2 }));
    expect(loaded.spent).toBe(canRepack ? denseBytes(cols) : 0);
    expect(loaded.dense.sparedBytesPerToken).toBe(canRepack ? (cols * cols) / 4 - denseBytes(cols) : 0);
    expect(loaded.notices).toHaveLength(canRepack ? 0 : 1);
    await expectSame(loaded, cols);
    expect(nativeAllocations()).toEqual(before);
  });

  it("copies from a mapped file, which tiles go on reading", async () => {
    const shape = { cols: 512, nLayers: 2 };
    const path = join(folder, "weights");
    writeFileSync(path, ternaryBytes(chainBytes(shape), 7));
    const loaded = await load(
      chainProgram({ ...shape, source: { kind: "file", path, size: chainBytes(shape) } }),
    );
    expect(loaded.dense.memory().mappedBytes).toBe(chainBytes(shape));
    await expectSame(loaded, shape.cols);
  });

  it.skipIf(!canRepack).each([
    ["with a code of 3", chainProgram({ cols: 512, nLayers: 1, source: withThree() }), 512],
    ["with scales of groups", withGroups(256), 256],
    ["whose copy would be larger", chainProgram({ cols: 384, nLayers: 1 }), 384],
  ])("keeps the 2 bits of a weight %s, and says so", async (_, program, cols) => {
    const loaded = await load(program);
    expect(loaded.spent).toBe(0);
    expect(loaded.dense.sparedBytesPerToken).toBe(0);
    expect(loaded.notices).toEqual([
      "bitnet: no denser copy of the weights: their scales come in groups, they hold the code 3, or the copy would be larger",
    ]);
    await expectSame(loaded, cols);
  });

  it("leaves an instruction set without byte permutes as it is, and says so", async () => {
    const loaded = await load(chainProgram({ cols: 256, nLayers: 1 }), 1, "scalar");
    expect(loaded.spent).toBe(0);
    expect(loaded.notices).toEqual([
      "bitnet: no denser copy of the weights: it needs the instruction set avx512vnni or amx",
    ]);
    await expectSame(loaded, 256);
  });

  it("can be asked for by a variable, which an option outweighs", async () => {
    const spentBy = async (more: { repack?: "none" }) => {
      const executable = await openBackend(1, undefined).load(chainProgram({ cols: 256, nLayers: 1 }), {
        ...options,
        ...more,
      });
      const bytes = executable.memory().privateBytes;
      await executable.dispose();
      return bytes;
    };
    try {
      vi.stubEnv("BITNET_REPACK", "dense");
      expect((await spentBy({})) - (await spentBy({ repack: "none" }))).toBe(canRepack ? denseBytes(256) : 0);
      vi.stubEnv("BITNET_REPACK", "denser");
      await expect(spentBy({})).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        message: 'load: repack "denser" is neither "dense" nor "none"',
      });
    } finally {
      vi.unstubAllEnvs();
    }
  });
});
