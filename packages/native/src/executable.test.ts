/** What an Executable promises besides right answers: order, disposal, memory given back, and no crash on nonsense. */
import {
  type BitNetError,
  createReferenceBackend,
  type EncodedProgram,
  type Executable,
  encodeProgram,
  encodeStep,
  engineRecords,
  wordsOf,
} from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import { openBackend } from "./backend.ts";
import { nativeAllocations, nativeStatus } from "./index.ts";
import {
  cacheProgram,
  cacheStep,
  chainProgram,
  chainStep,
  chainX,
  gated,
  gatedProgram,
  missingAddon,
  options,
  theBinding,
} from "./test-program.test.kit.ts";

const isas = nativeStatus()
  .variants.filter(({ rejected }) => rejected === null)
  .map(({ isa }) => isa);
const shape = { cols: 256, nLayers: 3 };

function codeOf(error: unknown): string {
  return (error as BitNetError).code;
}

async function withExecutable<T>(
  load: Promise<Executable>,
  use: (executable: Executable) => Promise<T>,
): Promise<T> {
  const executable = await load;
  try {
    return await use(executable);
  } finally {
    await executable.dispose();
  }
}

describe.skipIf(missingAddon)("native executable", () => {
  it("gives the bits of the reference for any number of threads", async () => {
    const step = chainStep(shape.cols, 33);
    const expected = await withExecutable(
      createReferenceBackend().load(chainProgram(shape), options),
      (executable) => executable.run(step),
    );
    for (const [threads, allThreads] of [
      [1, true],
      [2, true],
      [3, true],
      [7, true],
      [4, false],
    ] as const) {
      const backend = openBackend(threads, undefined, { allThreads });
      const actual = await withExecutable(backend.load(chainProgram(shape), options), (executable) =>
        executable.run(step),
      );
      expect(actual.outputs, `${threads} threads`).toEqual(expected.outputs);
    }
  });

  it.each([
    ["tensor", false],
    ["tensor", true],
    ["row", false],
    ["group", false],
  ] as const)(
    "gives the same activation whether or not what goes into it is asked for: %s scales, gate read elsewhere: %s",
    async (scaleKind, isGateRead) => {
      const program = gatedProgram(256, scaleKind, isGateRead);
      const loadOptions = { ...options, maxRows: 140 };
      const results = isGateRead ? [gated.out, gated.x] : [gated.out];
      const asked = [results, [...results, gated.gate, gated.up], [gated.up, ...results]];
      const step = (nRows: number, outputs: readonly number[]) => ({ ...chainStep(256, nRows), outputs });
      await withExecutable(createReferenceBackend().load(program, loadOptions), async (reference) => {
        // More than a panel of activations on the best instruction set only.
        for (const nRows of [1, 5, 17, 140]) {
          const all = [...results, gated.gate, gated.up];
          const expected = (await reference.run(step(nRows, all))).outputs;
          for (const isa of nRows > 128 ? isas.slice(0, 1) : isas)
            await withExecutable(openBackend(2, isa).load(program, loadOptions), async (native) => {
              for (const outputs of nRows > 128 ? [results] : asked)
                expect((await native.run(step(nRows, outputs))).outputs, `${isa}, ${nRows} rows`).toEqual(
                  outputs.map((id) => expected[all.indexOf(id)]),
                );
            });
        }
      });
    },
  );

  it("runs steps in the order they came, and copies their arrays at once", async () => {
    const load = openBackend(2, undefined).load(cacheProgram(), options);
    await withExecutable(load, async (executable) => {
      const finished: number[] = [];
      const runs = [0, 1, 2, 3].map((position) => {
        const step = cacheStep(position, [5], position);
        const run = executable.run(step).then((result) => {
          finished.push(position);
          return result.outputs[0]?.values?.[0];
        });
        step.positions[0] = 31;
        return run;
      });
      expect(await Promise.all(runs)).toEqual([0, 0.5, 1, 1.5]);
      expect(finished).toEqual([0, 1, 2, 3]);
    });
  });

  it("serves several executables at once", async () => {
    const backend = openBackend(2, undefined);
    const executables = await Promise.all(
      [1, 2, 3].map((nLayers) => backend.load(chainProgram({ ...shape, nLayers }), options)),
    );
    const step = chainStep(shape.cols, 5);
    const alone = [];
    for (const executable of executables) alone.push(await executable.run(step));
    const together = await Promise.all(executables.map((executable) => executable.run(step)));
    expect(together).toEqual(alone);
    await Promise.all(executables.map((executable) => executable.dispose()));
  });

  it("disposes after the run in flight, refuses the next, and gives back all memory", async () => {
    const before = nativeAllocations();
    const executable = await openBackend(2, undefined).load(
      chainProgram({ cols: 512, nLayers: 20 }),
      options,
    );
    expect(nativeAllocations().count).toBeGreaterThan(before.count);
    expect(nativeAllocations().bytes).toBeGreaterThan(before.bytes);
    const events: string[] = [];
    const step = chainStep(512, 64);
    const first = executable.run(step).then(() => events.push("first"));
    // Let the first step begin, so that it is in flight and not merely asked for.
    await Promise.resolve();
    await Promise.resolve();
    const second = executable.run(step).catch((error) => events.push(codeOf(error)));
    const disposal = executable.dispose().then(() => events.push("disposed"));
    expect(executable.dispose()).toBe(executable.dispose());
    await Promise.all([first, second, disposal]);
    expect(events).toEqual(["first", "DISPOSED", "disposed"]);
    expect(nativeAllocations()).toEqual(before);
    await expect(executable.run(step)).rejects.toMatchObject({ code: "DISPOSED" });
    expect(() => executable.memory()).toThrow(expect.objectContaining({ code: "DISPOSED" }));
    expect(() => executable.releasePages(Int32Array.of(0))).toThrow(
      expect.objectContaining({ code: "DISPOSED" }),
    );
  });

  it("commits pages as they are written and gives them back", async () => {
    const load = openBackend(1, undefined).load(cacheProgram(), options);
    await withExecutable(load, async (executable) => {
      const empty = executable.memory();
      expect(empty.kvBytesPerToken).toBe(2 * 16 * 2);
      const run = async (position: number, pages: number[]) =>
        (await executable.run(cacheStep(position, pages, 8))).outputs[0]?.values?.[0];
      expect(await run(0, [3])).toBe(8);
      const onePage = executable.memory().privateBytes - empty.privateBytes;
      expect(onePage).toBeGreaterThanOrEqual(32 * empty.kvBytesPerToken);
      await run(32, [3, 6]);
      expect(executable.memory().privateBytes - empty.privateBytes).toBe(2 * onePage);
      executable.releasePages(Int32Array.of(3, 6));
      expect(executable.memory()).toEqual(empty);
      // A page that comes back holds zeros: the mean of 0 and 8.
      expect(await run(1, [3])).toBe(4);
      expect(() => executable.releasePages(Int32Array.of(8))).toThrow(/page 8 is not in 0…7/);
    });
  });

  it("releases pages only after the steps that were asked for before", async () => {
    const load = openBackend(2, undefined).load(cacheProgram(), options);
    await withExecutable(load, async (executable) => {
      await executable.run(cacheStep(0, [1], 4));
      const before = executable.run(cacheStep(1, [1], 4));
      executable.releasePages(Int32Array.of(1));
      const after = executable.run(cacheStep(1, [1], 4));
      expect((await before).outputs[0]?.values?.[0]).toBe(4);
      expect((await after).outputs[0]?.values?.[0]).toBe(2);
    });
  });

  it("names the row and operation of a numeric failure and lives on", async () => {
    const load = openBackend(2, undefined).load(chainProgram(shape), options);
    await withExecutable(load, async (executable) => {
      const good = chainStep(shape.cols, 6);
      const bad = chainStep(shape.cols, 6);
      const values = bad.inputs?.[0]?.values ?? new Float32Array();
      values[4 * shape.cols + 3] = Number.POSITIVE_INFINITY;
      values[2 * shape.cols] = Number.NaN;
      const expected = await executable.run(good);
      await expect(executable.run(bad)).rejects.toMatchObject({
        code: "NUMERIC_FAILURE",
        message: expect.stringMatching(/operation 0 \(rmsNormQuant of "x"\), row 2/),
        details: { row: 2, op: "rmsNormQuant", index: 0 },
      });
      expect(await executable.run(good)).toEqual(expected);
    });
  });

  it("refuses steps that contradict the program", async () => {
    const load = openBackend(1, undefined).load(cacheProgram(), options);
    await withExecutable(load, async (executable) => {
      for (const step of [cacheStep(32, [0], 1), cacheStep(128, [0, 1, 2, 3, 4], 1), cacheStep(0, [8], 1)]) {
        await expect(executable.run(step)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
      }
    });
  });
});

describe.skipIf(missingAddon)("the addon on its own", () => {
  function create({ words, scales, paths }: EncodedProgram) {
    const { binding } = theBinding();
    const { isa } = binding.selectKernels("scalar");
    return binding.create(isa, words, scales, paths, Int32Array.of(64, 8, 1, 2, 1, 1));
  }

  /** Seeded numbers that like to be at the edges. */
  function draws(seed: number): () => number {
    let state = seed;
    const edges = [-1, 0, 1, 2, 3, 7, 8, 64, 127, 255, 2 ** 28, 2 ** 31 - 1, -(2 ** 31)];
    return () => {
      state = (Math.imul(state, 1103515245) + 12345) | 0;
      const bits = (state >>> 8) & 0xffff;
      return bits % 3 === 0 ? bits : (edges[bits % edges.length] ?? 0);
    };
  }

  /** Puts another size of a source, or offset of a weight, in its place. */
  function bendNumber(words: Int32Array, place: number, value: number): void {
    const { programCounts, programSource, programBuffer } = engineRecords;
    const [, , nSources = 0, nBuffers = 0] = words;
    const at = wordsOf(programCounts);
    const buffer = at + nSources * wordsOf(programSource) + (place % nBuffers) * wordsOf(programBuffer);
    const word = place % 2 === 0 ? at + (place % nSources) * wordsOf(programSource) : buffer + 2;
    new DataView(words.buffer).setFloat64(4 * word, value, true);
  }

  it("survives malformed programs", () => {
    const { binding } = theBinding();
    const before = nativeAllocations();
    const draw = draws(1);
    const original = encodeProgram(chainProgram(shape));
    let refused = 0;
    for (let round = 0; round < 4000; round++) {
      const words = original.words.slice();
      if (round % 5 === 0)
        bendNumber(words, Math.abs(draw()), [-1, 0.5, 2 ** 60, Number.NaN][round % 4] ?? 0);
      else words[Math.abs(draw()) % words.length] = draw();
      try {
        binding.dispose(create({ ...original, words }));
      } catch (error) {
        expect(["MODEL_INVALID", "INVALID_ARGUMENT", "OUT_OF_MEMORY"]).toContain(codeOf(error));
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1000);
    expect(nativeAllocations()).toEqual(before);
  });

  it("survives malformed steps", async () => {
    const { binding } = theBinding();
    binding.reserveThreads(2);
    const before = nativeAllocations();
    const handle = create(encodeProgram(cacheProgram()));
    binding.fillSource(handle, 0, 0, (cacheProgram().sources[0] as { bytes: Uint8Array }).bytes);
    expect(await binding.finish(handle)).toBeUndefined();
    const draw = draws(2);
    const step = { ...cacheStep(40, [1, 2], 1), pageCopies: Int32Array.of(1, 2) };
    let refused = 0;
    for (let round = 0; round < 3000; round++) {
      const words = encodeStep(step);
      words[Math.abs(draw()) % words.length] = draw();
      const cut = round % 4 === 0 ? words.subarray(0, Math.abs(draw()) % words.length) : words;
      try {
        await binding.run(handle, cut);
      } catch (error) {
        expect(["INVALID_ARGUMENT", "OUT_OF_MEMORY"]).toContain(codeOf(error));
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(500);
    binding.dispose(handle);
    expect(nativeAllocations()).toEqual(before);
  });

  it("refuses what is not an executable, and calls in the wrong order", async () => {
    const { binding } = theBinding();
    const step = encodeStep(cacheStep(0, [0], 1));
    const call = binding as unknown as Record<string, (...args: unknown[]) => unknown>;
    for (const name of [
      "run",
      "finish",
      "dispose",
      "memory",
      "releasePages",
      "fillSource",
      "shareSource",
      "create",
    ]) {
      for (const args of [[], [undefined], [{}], [1, 2, 3], [Object.create(null), step, step, step]]) {
        expect(() => call[name]?.(...args), `${name}(${args.length} arguments)`).toThrow();
      }
    }
    const handle = create(encodeProgram(cacheProgram()));
    expect(() => binding.run(handle, step)).toThrow(/not loaded/);
    expect(() => binding.fillSource(handle, 0, 1e9, new Uint8Array(8))).toThrow(/do not belong/);
    expect(await binding.finish(handle)).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/missing/),
    });
    binding.dispose(handle);
    binding.dispose(handle);
    expect(() => binding.run(handle, step)).toThrow(/disposed/);
  });

  it("refuses to run or dispose what is busy", async () => {
    const { binding } = theBinding();
    binding.reserveThreads(2);
    const program = chainProgram({ cols: 512, nLayers: 10 });
    const handle = create(encodeProgram(program));
    program.sources.forEach((source, i) => {
      if (source.kind === "bytes") binding.fillSource(handle, i, 0, source.bytes);
    });
    await binding.finish(handle);
    const step = encodeStep({ ...chainStep(512, 64), outputs: [chainX] });
    const run = binding.run(handle, step);
    expect(() => binding.run(handle, step)).toThrow(/busy/);
    expect(() => binding.dispose(handle)).toThrow(/busy/);
    await run;
    binding.dispose(handle);
  });
});
