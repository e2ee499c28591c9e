/** How weights reach the engine's memory, what is refused before anything is read, and what becomes of a machine afterwards. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Backend, BitNetError, LoadOptions, Program, SourceRef } from "@bitnet.ts/core";
import { type ConformanceCase, checkConformance, conformanceCases } from "@bitnet.ts/core/conformance";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWasmBackend } from "./index.ts";
import { type LoadTarget, loadExecutable } from "./load.ts";
import { Machine } from "./machine.ts";
import { mostPages, weightBytes } from "./memory-plan.ts";
import { compileModule } from "./modules.ts";

const options: LoadOptions = { kvType: "f16", nPages: 1, maxRows: 4 };
const head = conformanceCases().find(({ name }) => name === "head f16 1001 × 96") as ConformanceCase;

/** The same case with its sources as `make` gives them. */
function withSources(make: (source: Extract<SourceRef, { kind: "bytes" }>, index: number) => SourceRef) {
  const sources = head.program.sources.map((source, i) =>
    source.kind === "bytes" ? make(source, i) : source,
  );
  return { ...head, program: { ...head.program, sources } };
}

/** One dense table of so many columns that is embedded and nothing else, read from `source`. */
function tableProgram(rows: number, cols: number, source: SourceRef): Program {
  return {
    name: "table",
    contextLength: 8,
    vocabSize: rows,
    sources: [source],
    buffers: [
      {
        class: "weight",
        name: "table",
        tensor: { kind: "dense", type: "f16", source: 0, offset: 0, rows, cols },
      },
      { class: "activation", name: "x", type: "f32", cols },
    ],
    ops: [{ op: "embed", table: 0, out: 1 }],
  };
}

async function failureOf(loading: Promise<unknown>): Promise<BitNetError> {
  return loading.then(
    () => expect.fail("it succeeded"),
    (error: BitNetError) => error,
  );
}

describe("sources", () => {
  const backend = createWasmBackend({ threads: 2 });
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bitnet-wasm-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("streams give the bits of memory, each byte read once", async () => {
    const reads = new Map<number, number>();
    const streamed = withSources(({ name, bytes }, i) => ({
      kind: "stream",
      name,
      size: bytes.byteLength,
      read: async (offset, length) => {
        reads.set(i, (reads.get(i) ?? 0) + length);
        return bytes.subarray(offset, offset + length);
      },
    }));
    // The reference reads the bytes in memory, and only once.
    expect(await checkConformance(head, await backend)).toBeNull();
    expect(await checkConformance(streamed, await backend)).toBeNull();
    const sizes = head.program.buffers.flatMap((buffer) =>
      buffer.class === "weight" ? [weightBytes(buffer.tensor)] : [],
    );
    expect(sizes.length).toBe(2);
    expect([...reads.values()].sort()).toEqual(sizes.sort());
  });

  it("files give the bits of memory", async () => {
    const filed = withSources(({ bytes }, i) => {
      const path = join(folder, `${i}.bin`);
      writeFileSync(path, bytes);
      return { kind: "file", path, size: bytes.byteLength };
    });
    expect(await checkConformance(filed, await backend)).toBeNull();
  });

  it("a table larger than a piece arrives in pieces, whole", async () => {
    const [rows, cols] = [3000, 2048];
    const values = Uint16Array.from({ length: rows * cols }, (_, i) => 0x3c00 + (Math.floor(i / cols) % 512));
    const lengths: number[] = [];
    const program = tableProgram(rows, cols, {
      kind: "stream",
      name: "table",
      size: values.byteLength,
      read: async (offset, length) => {
        lengths.push(length);
        return new Uint8Array(values.buffer, offset, length);
      },
    });
    const progress: number[] = [];
    const executable = await (await backend).load(program, {
      ...options,
      onProgress: (f) => progress.push(f),
    });
    const step = {
      tokens: Int32Array.of(0, 2047, 2048, 2999),
      positions: Int32Array.of(0, 1, 2, 3),
      sequences: new Int32Array(4),
      pageTables: [Int32Array.of(0)],
      heads: [],
      outputs: [1],
    };
    const { outputs } = await executable.run(step);
    await executable.dispose();
    const first = (row: number) => outputs[0]?.values?.[row * cols];
    expect([0, 1, 2, 3].map(first)).toEqual([0, 2047, 2048, 2999].map((row) => 1 + (row % 512) / 1024));
    expect(Math.max(...lengths)).toBeLessThanOrEqual(2 ** 23);
    expect(lengths.length).toBe(2);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBe(1);
  });

  it.each([
    ["is missing", "FILE_NOT_FOUND", (path: string) => rmSync(path)],
    ["became shorter", "IO_FAILED", (path: string) => truncateSync(path, 100)],
  ])("a file that %s is named", async (_, code, change) => {
    const path = join(folder, "changed.bin");
    writeFileSync(path, new Uint8Array(2 * 16 * 32));
    change(path);
    const loading = (await backend).load(tableProgram(16, 32, { kind: "file", path, size: 1024 }), options);
    const error = await failureOf(loading);
    expect(error.code).toBe(code);
    expect(error.message).toContain(path);
  });

  it("a stream that fails ends the loading with its own error, and the next program loads", async () => {
    const cause = new Error("the network is gone");
    const read = () => Promise.reject(cause);
    const program = tableProgram(16, 32, { kind: "stream", name: "table", size: 1024, read });
    expect(await failureOf((await backend).load(program, options))).toBe(cause);
    expect(await checkConformance(head, await backend)).toBeNull();
  });

  it("an aborted loading stops reading", async () => {
    const controller = new AbortController();
    let nReads = 0;
    const read = async (_: number, length: number) => {
      nReads++;
      controller.abort();
      return new Uint8Array(length);
    };
    const size = 2 * 2048 * 4096;
    const program = tableProgram(4096, 2048, { kind: "stream", name: "table", size, read });
    const loading = (await backend).load(program, { ...options, signal: controller.signal });
    expect((await failureOf(loading)).code).toBe("ABORTED");
    expect(nReads).toBe(1);
  });
});

describe("what does not fit 4 GiB", () => {
  it("is told from what only looks large: the table of 2B-4T, and one of 2 GB", async () => {
    const cause = new Error("read");
    const read = () => Promise.reject(cause);
    const backend = await createWasmBackend({ threads: 1 });
    for (const [rows, cols] of [
      [128_256, 2560],
      [2 ** 18, 2 ** 12],
    ] as const) {
      const program = tableProgram(rows, cols, {
        kind: "stream",
        name: "table",
        size: 2 * rows * cols,
        read,
      });
      expect(await failureOf(backend.load(program, options))).toBe(cause);
    }
  });

  it("is refused with the arithmetic before anything is read", async () => {
    const [rows, cols] = [2 ** 18, 2 ** 13];
    const read = () => Promise.reject(new Error("read"));
    const program = tableProgram(rows, cols, { kind: "stream", name: "table", size: 2 * rows * cols, read });
    const error = await failureOf((await createWasmBackend({ threads: 1 })).load(program, options));
    expect(error.code).toBe("OUT_OF_MEMORY");
    expect(error.message).toMatch(
      /table does not fit: 4295 MB of weights \+ .* = 43\d\d MB, but WebAssembly has 4295 MB of memory here; take a smaller model/,
    );
  });

  it("is told to have a shorter context where the cache is what is too much", async () => {
    const cache = conformanceCases().find(({ name }) => /^attention 4\/2/.test(name)) as ConformanceCase;
    const backend = await createWasmBackend({ threads: 1 });
    const error = await failureOf(backend.load(cache.program, { ...options, nPages: 2 ** 21 }));
    expect(error.code).toBe("OUT_OF_MEMORY");
    expect(error.message).toMatch(/ask for a shorter context or fewer cacheTokens/);
  });
});

describe("a machine", () => {
  it("gives all memory back when its program is disposed of, and serves the next one", async () => {
    const module = await compileModule("plain", {});
    const place = { places: {}, pages: { least: 4096, best: 4096 }, threads: 1 };
    const { machine, pages } = await Machine.start(module, place);
    const { variants } = await machine.ask({ kind: "prove" });
    const live: number[] = [(await machine.ask({ kind: "destroy" })).liveBytes];
    const target: LoadTarget = {
      ...{ variant: variants.indexOf("wasm-plain-exact"), threads: 1, allThreads: true },
      takeMachine: async () => ({ machine, pages }),
      giveBack: async () => {
        live.push((await machine.ask({ kind: "destroy" })).liveBytes);
      },
    };
    const load = (program: Program, options: LoadOptions) => loadExecutable(target, program, options);
    const backend = { ...(await createWasmBackend()), load } as Backend;
    for (const testCase of conformanceCases().slice(0, 3))
      expect(await checkConformance(testCase, backend)).toBeNull();
    expect(await checkConformance(head, backend)).toBeNull();
    expect(live).toEqual(live.map(() => live[0]));
    expect(live.length).toBe(5);
    machine.end();
  });

  it("that is granted less than it was told fails with the engine's words, and nothing is left behind", async () => {
    const module = await compileModule("plain", {});
    const place = { places: {}, pages: { least: 512, best: 512 }, threads: 1 };
    const { machine } = await Machine.start(module, place);
    const { variants } = await machine.ask({ kind: "prove" });
    const live: number[] = [(await machine.ask({ kind: "destroy" })).liveBytes];
    const target: LoadTarget = {
      ...{ variant: variants.indexOf("wasm-plain-exact"), threads: 1, allThreads: true },
      takeMachine: async () => ({ machine, pages: mostPages }),
      giveBack: async () => {
        live.push((await machine.ask({ kind: "destroy" })).liveBytes);
      },
    };
    const [rows, cols] = [16_384, 1024];
    const read = async (_: number, length: number) => new Uint8Array(length);
    const source = { kind: "stream", name: "table", size: 2 * rows * cols, read } as const;
    const error = await failureOf(loadExecutable(target, tableProgram(rows, cols, source), options));
    expect(error.code).toBe("OUT_OF_MEMORY");
    expect(error.message).toMatch(/no memory for 33554432 bytes of weights/);
    expect(live).toEqual([live[0], live[0]]);
    machine.end();
  });

  it("with a large memory ends with its program: many loads one after another take no more than one", async () => {
    const backend = await createWasmBackend({ threads: 2 });
    const [rows, cols] = [32_768, 1024];
    const size = 2 * rows * cols;
    const read = async (_: number, length: number) => new Uint8Array(length).fill(1);
    const load = async () => {
      const program = tableProgram(rows, cols, { kind: "stream", name: "table", size, read });
      await (await backend.load(program, options)).dispose();
    };
    for (let i = 0; i < 2; i++) await load();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 6; i++) await load();
    // One may not be gone yet.
    expect(process.memoryUsage().rss - before).toBeLessThan(2.5 * size);
  });

  it("that breaks fails what it was asked, then and later, and ends its threads", async () => {
    const module = await compileModule("plain", {});
    const { machine } = await Machine.start(module, {
      places: {},
      pages: { least: 128, best: 128 },
      threads: 2,
    });
    const broken = { code: "BACKEND_FAILED", message: expect.stringMatching(/no memory for the stacks/) };
    const ports = Array.from({ length: 200 }, () => new MessageChannel().port1);
    const asked = machine.ask({ kind: "prepareHelpers", ports }, ports);
    await expect(asked).rejects.toMatchObject(broken);
    await expect(machine.ask({ kind: "prove" })).rejects.toMatchObject(broken);
    expect(machine.isBroken).toBe(true);
  });

  it("that cannot be had is no backend", async () => {
    const backend = createWasmBackend({ isa: "wasm-i64-madd" });
    await expect(backend).rejects.toMatchObject({
      code: "BACKEND_UNAVAILABLE",
      message: expect.stringMatching(/no variant "wasm-i64-madd"; choose one of wasm-i32-madd/),
    });
    await expect(createWasmBackend({ threads: 0 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
