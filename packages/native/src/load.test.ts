/** Where weights come from: mapped files that change underneath, memory that is copied or shared, and loads that are given up. */
import { mkdtempSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Backend, Executable, StepResult } from "@bitnet.ts/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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

const shape = { cols: 512, nLayers: 2 };
const size = chainBytes(shape);
const step = chainStep(shape.cols, 9);

describe.skipIf(missingAddon)("native load", () => {
  let folder: string;
  let backend: Backend;
  let expected: StepResult;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "bitnet-native-"));
    backend = openBackend(2, undefined);
    const executable = await backend.load(chainProgram(shape), options);
    expected = await executable.run(step);
    await executable.dispose();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function weightFile(name: string): string {
    const path = join(folder, name);
    writeFileSync(path, ternaryBytes(size, 7));
    return path;
  }

  async function loadFile(path: string): Promise<Executable> {
    const executable = await backend.load(
      chainProgram({ ...shape, source: { kind: "file", path, size } }),
      options,
    );
    expect(executable.memory().mappedBytes).toBe(size);
    return executable;
  }

  it("computes on a mapped file in place", async () => {
    const before = nativeAllocations();
    const executable = await loadFile(weightFile("mapped"));
    expect(await executable.run(step)).toEqual(expected);
    await executable.dispose();
    expect(nativeAllocations()).toEqual(before);
  });

  it("maps one file for several executables and goes on after one is gone", async () => {
    const path = weightFile("twice");
    const [first, second] = await Promise.all([loadFile(path), loadFile(path)]);
    await first.dispose();
    expect(await second.run(step)).toEqual(expected);
    await second.dispose();
  });

  it("lives on without the file's name", async () => {
    const path = weightFile("unlinked");
    const executable = await loadFile(path);
    rmSync(path);
    expect(await executable.run(step)).toEqual(expected);
    await executable.dispose();
  });

  it.each([
    ["untouched", false],
    ["in use", true],
  ])("fails the step, not the process, when an %s file is truncated", async (name, used) => {
    const path = weightFile(`truncated ${name}`);
    const executable = await loadFile(path);
    const other = await backend.load(chainProgram(shape), options);
    if (used) await executable.run(step);
    truncateSync(path, 100);
    const failure = {
      code: "BACKEND_FAILED",
      message: expect.stringMatching(/changed or was truncated while in use/),
    };
    await expect(executable.run(step)).rejects.toMatchObject(failure);
    // It stays failed, even when the file comes back.
    writeFileSync(path, ternaryBytes(size, 7));
    await expect(executable.run(step)).rejects.toMatchObject(failure);
    expect(await other.run(step)).toEqual(expected);
    await Promise.all([executable.dispose(), other.dispose()]);
  });

  it("fails when the file is written to", async () => {
    const path = weightFile("rewritten");
    const executable = await loadFile(path);
    writeFileSync(path, ternaryBytes(size, 8));
    utimesSync(path, 1e9, 1e9 + statSync(path).size);
    await expect(executable.run(step)).rejects.toMatchObject({ code: "BACKEND_FAILED" });
    await executable.dispose();
  });

  it.each([
    ["missing", size, "FILE_NOT_FOUND", /no such file|cannot be opened/i],
    ["other size", size + 1, "BACKEND_FAILED", /expected \d+ bytes, found \d+/],
  ])("refuses a file: %s", async (name, claimed, code, message) => {
    const before = nativeAllocations();
    const path = name === "missing" ? join(folder, "none") : weightFile(name);
    const program = chainProgram({ ...shape, source: { kind: "file", path, size: claimed } });
    await expect(backend.load(program, options)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    expect(nativeAllocations()).toEqual(before);
  });

  it("refuses a folder", async () => {
    const program = chainProgram({ ...shape, source: { kind: "file", path: folder, size } });
    await expect(backend.load(program, options)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("uses shared memory in place and copies other memory", async () => {
    const bytes = ternaryBytes(size, 7);
    const sharedBytes = new Uint8Array(new SharedArrayBuffer(size + 3), 3);
    sharedBytes.set(bytes);
    const load = (source: Uint8Array) =>
      backend.load(
        chainProgram({ ...shape, source: { kind: "bytes", name: "matrix", bytes: source } }),
        options,
      );
    const [copied, inPlace] = await Promise.all([load(bytes), load(sharedBytes)]);
    expect(copied.memory().privateBytes - inPlace.memory().privateBytes).toBe(size);
    // The copy does not care what becomes of the original.
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    expect(await copied.run(step)).toEqual(expected);
    expect(await inPlace.run(step)).toEqual(expected);
    sharedBytes.fill(0x55);
    expect(await inPlace.run(step)).not.toEqual(expected);
    await Promise.all([copied.dispose(), inPlace.dispose()]);
  });

  describe("of a source of several slices", () => {
    const large = { cols: 8192, nLayers: 1 };
    const program = (bytes: Uint8Array) =>
      chainProgram({ ...large, source: { kind: "bytes", name: "matrix", bytes } });

    it("tells of its progress", async () => {
      const fractions: number[] = [];
      const bytes = new Uint8Array(chainBytes(large)).fill(0x55);
      const onProgress = (fraction: number) => fractions.push(fraction);
      const executable = await backend.load(program(bytes), { ...options, onProgress });
      await executable.dispose();
      expect(fractions.length).toBeGreaterThan(2);
      expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
      expect(fractions.at(-1)).toBe(1);
    });

    it("stops when it is aborted, and frees what it had", async () => {
      const before = nativeAllocations();
      const abort = new AbortController();
      const bytes = new Uint8Array(chainBytes(large)).fill(0x55);
      const loading = backend.load(program(bytes), {
        ...options,
        onProgress: () => abort.abort(),
        signal: abort.signal,
      });
      await expect(loading).rejects.toMatchObject({ code: "ABORTED" });
      await expect(backend.load(program(bytes), { ...options, signal: abort.signal })).rejects.toMatchObject({
        code: "ABORTED",
      });
      expect(nativeAllocations()).toEqual(before);
    });

    it("refuses bytes that are transferred away meanwhile", async () => {
      const before = nativeAllocations();
      const bytes = new Uint8Array(chainBytes(large)).fill(0x55);
      const onProgress = () => {
        if (bytes.byteLength > 0) structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
      };
      await expect(backend.load(program(bytes), { ...options, onProgress })).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        message: expect.stringMatching(/"matrix" were taken away/),
      });
      expect(nativeAllocations()).toEqual(before);
    });
  });

  it.each([
    ["maxRows", { maxRows: 0 }, "INVALID_ARGUMENT"],
    ["maxRows", { maxRows: 2 ** 30 }, "INVALID_ARGUMENT"],
    ["nPages", { nPages: 1.5 }, "INVALID_ARGUMENT"],
    ["kvType", { kvType: "f64" as "f32" }, "INVALID_ARGUMENT"],
  ])("refuses options: %s", async (_, wrong, code) => {
    await expect(backend.load(chainProgram(shape), { ...options, ...wrong })).rejects.toMatchObject({ code });
  });

  it("says so when there is no memory for the activations or the cache", async () => {
    const before = nativeAllocations();
    const program = chainProgram(shape);
    const wide = program.buffers.map((buffer) => buffer);
    for (let i = 0; i < 64; i++)
      wide.push({ class: "activation", name: `wide${i}`, type: "f32", cols: 2 ** 27 });
    await expect(
      backend.load({ ...program, buffers: wide }, { ...options, maxRows: 2 ** 20 }),
    ).rejects.toMatchObject({
      code: "OUT_OF_MEMORY",
    });
    const caches = program.buffers.map((buffer) => buffer);
    caches.push({ class: "kv", name: "kv", nKvHeads: 1024, headDim: 1024 });
    await expect(
      backend.load({ ...program, buffers: caches }, { ...options, nPages: 2 ** 31 - 1 }),
    ).rejects.toMatchObject({
      code: "OUT_OF_MEMORY",
    });
    expect(nativeAllocations()).toEqual(before);
  });
});
