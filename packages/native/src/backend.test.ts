/** How the instruction set and the threads of a backend are chosen, and that what was chosen is what runs. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { openBackend } from "./backend.ts";
import { availableThreads, createNativeBackend, nativeStatus } from "./index.ts";
import { chainProgram, chainStep, missingAddon, options, theBinding } from "./test-program.test.kit.ts";

const shape = { cols: 256, nLayers: 2 };

afterEach(() => vi.unstubAllEnvs());

function stepsRun(): Map<string, number> {
  return new Map(nativeStatus().variants.map(({ isa, stepsRun }) => [isa, stepsRun]));
}

describe.skipIf(missingAddon)("native backend", () => {
  const working = missingAddon ? [] : nativeStatus().variants.filter(({ rejected }) => rejected === null);

  it("takes the best variant that works and tells of those before it", async () => {
    const { variants, chosen, path, reason } = nativeStatus();
    expect(path).toBe(theBinding().path);
    expect(reason).toBeNull();
    expect(variants.at(-1)?.isa).toBe("scalar");
    expect(chosen).toBe(working[0]?.isa);
    const backend = await createNativeBackend();
    expect(backend.isa).toBe(chosen);
    const before = variants.slice(
      0,
      variants.findIndex(({ isa }) => isa === chosen),
    );
    expect(backend.rejected).toEqual(before.map(({ isa, rejected }) => ({ isa, reason: rejected })));
    expect(backend.threads).toBe(availableThreads());
  });

  it.each(working.map(({ isa }) => isa))("runs the kernels of %s when it is told to", async (isa) => {
    const backend = openBackend(2, isa);
    expect(backend.isa).toBe(isa);
    const executable = await backend.load(chainProgram(shape), options);
    const before = stepsRun();
    await executable.run(chainStep(shape.cols, 3));
    await executable.dispose();
    for (const [name, count] of stepsRun())
      expect(count - (before.get(name) ?? 0), name).toBe(name === isa ? 1 : 0);
  });

  it("follows BITNET_ISA", async () => {
    vi.stubEnv("BITNET_ISA", "scalar");
    expect((await createNativeBackend()).isa).toBe("scalar");
    expect(nativeStatus().chosen).toBe("scalar");
    vi.stubEnv("BITNET_ISA", "");
    expect((await createNativeBackend()).isa).toBe(working[0]?.isa);
    vi.stubEnv("BITNET_ISA", "sse9");
    await expect(createNativeBackend()).rejects.toMatchObject({
      code: "BACKEND_UNAVAILABLE",
      message: expect.stringMatching(/no instruction set "sse9".*choose one of .*scalar/),
    });
    expect(nativeStatus()).toMatchObject({ chosen: null, reason: expect.stringMatching(/sse9/) });
    expect((await createNativeBackend({ isa: "scalar" })).isa).toBe("scalar");
  });

  it.runIf(nativeStatus().variants.some(({ rejected }) => rejected !== null))(
    "says why a known variant cannot be used here",
    async () => {
      const unusable = nativeStatus().variants.find(({ rejected }) => rejected !== null);
      await expect(createNativeBackend({ isa: unusable?.isa ?? "" })).rejects.toMatchObject({
        code: "BACKEND_UNAVAILABLE",
        message: expect.stringContaining(unusable?.rejected ?? "?"),
      });
    },
  );

  it("passes over a variant that gives wrong answers", () => {
    const { binding } = theBinding();
    const [best, second] = working;
    const choice = binding.selectKernels(undefined, best?.isa);
    if (second) expect(choice.isa).toBe(second.isa);
    expect(choice.rejected).toContainEqual({
      isa: best?.isa,
      reason: expect.stringMatching(/ternaryMatmul gives wrong answers/),
    });
    expect(() => binding.selectKernels("scalar", "scalar")).toThrow(/wrong answers/);
    // The proof of the genuine kernels stands.
    expect(binding.selectKernels().isa).toBe(best?.isa);
  });

  it.each([0, -1, 1.5, Number.NaN, 257])("refuses %s threads", (threads) => {
    expect(() => openBackend(threads, undefined)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  it("never takes more threads than there are cores to use", async () => {
    expect((await createNativeBackend({ threads: 200 })).threads).toBe(availableThreads());
    expect((await createNativeBackend({ threads: 1 })).threads).toBe(1);
  });
});
