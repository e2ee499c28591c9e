/** The arithmetic of what a program takes, for the sizes that people run. */
import { BitNetError, type Program, pageTokens } from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import { createMemory, pageBytes } from "./engine.ts";
import { checkFits, mostPages, pagesOf, planMemory } from "./memory-plan.ts";

interface Shape {
  hidden: number;
  ffn: number;
  layers: number;
  kvHeads: number;
  heads: number;
  vocab: number;
  isTied: boolean;
}

/** Microsoft's 2B-4T, and Llama 3 8B in ternary. */
const small = { hidden: 2560, ffn: 6912, layers: 30, kvHeads: 5, heads: 20, vocab: 128_256, isTied: true };
const large = { hidden: 4096, ffn: 14_336, layers: 32, kvHeads: 8, heads: 32, vocab: 128_256, isTied: false };

/** The weights and caches of a decoder, and of its operations the head. */
function decoder(shape: Shape): Program {
  const { hidden, ffn, layers, kvHeads, heads, vocab, isTied } = shape;
  const buffers: Program["buffers"][number][] = [];
  let offset = 0;
  const weight = (kind: "ternary" | "f16" | "f32", rows: number, cols: number) => {
    const place = { source: 0, offset, rows, cols };
    const tensor =
      kind === "ternary"
        ? ({ kind, ...place, packing: "i2_s", scale: { kind: "tensor", value: 1 } } as const)
        : ({ kind: "dense", type: kind, ...place } as const);
    offset += rows * cols;
    return buffers.push({ class: "weight", name: String(offset), tensor } as Program["buffers"][number]) - 1;
  };
  for (let layer = 0; layer < layers; layer++) {
    for (const rows of [heads * 128, kvHeads * 128, kvHeads * 128, hidden]) weight("ternary", rows, hidden);
    for (const [rows, cols] of [
      [ffn, hidden],
      [ffn, hidden],
      [hidden, ffn],
    ] as const)
      weight("ternary", rows, cols);
    buffers.push({ class: "kv", nKvHeads: kvHeads, headDim: 128 } as Program["buffers"][number]);
  }
  const embedded = weight("f16", vocab, hidden);
  const table = isTied ? embedded : weight("f16", vocab, hidden);
  const norm = weight("f32", 1, hidden);
  const x = buffers.push({ class: "activation", name: "x", type: "f32", cols: hidden }) - 1;
  return {
    ...{ name: "decoder", contextLength: 4096, vocabSize: vocab, sources: [], buffers },
    ops: [
      { op: "embed", table: embedded, out: x },
      { op: "head", x, weight: norm, eps: 1e-5, table },
    ],
  };
}

const limits = (tokens: number) => ({ kvType: "f16", nPages: tokens / pageTokens, maxRows: 512 }) as const;
const threads = { threads: 2, screening: true };

describe("2B-4T", () => {
  const plan = planMemory(decoder(small), limits(4096), threads);

  it("takes what its weights, its head, its copy and its cache take", () => {
    expect(plan.weights).toBe(521_011_200 + 656_670_720 + 2 * 10_240);
    expect(plan.screen).toBe(128_256 * 2572);
    expect(plan.kv).toBe(4096 * 76_800);
    expect(plan.scratch).toBe(70 * 2 ** 20);
  });

  it("fits 4 GiB with its copy and four contexts, and 2 GiB with one", () => {
    const wide = planMemory(decoder(small), limits(4 * 4096), threads);
    expect(pagesOf(wide).best).toBeLessThan(mostPages);
    expect(pagesOf(plan).best * pageBytes).toBeLessThan(2 ** 31);
    expect(() => checkFits("2B-4T", wide, mostPages)).not.toThrow();
  });

  it("does without its copy before it is refused", () => {
    const { least, best } = pagesOf(plan);
    expect((best - least) * pageBytes).toBeCloseTo(plan.screen, -5);
    expect(() => checkFits("2B-4T", plan, least)).not.toThrow();
    expect(() => checkFits("2B-4T", plan, least - 1)).toThrow(BitNetError);
    const without = planMemory(decoder(small), limits(4096), { ...threads, screening: false });
    expect(without).toEqual({ ...plan, screen: 0 });
  });
});

describe("8B", () => {
  it("is refused with the arithmetic, and told where it runs", () => {
    const plan = planMemory(decoder(large), limits(8192), threads);
    expect(plan.weights).toBe(1_744_830_464 + 2 * 1_050_673_152 + 2 * 16_384);
    // With two tables in f16 there is room for some 2000 tokens.
    const text =
      /^wasm: 8B does not fit: 3847 MB of weights \+ \d+ MB of activations \+ 1074 MB of KV cache \+ 74 MB of scratch = 50\d\d MB, but WebAssembly has 4295 MB of memory here; ask for a shorter context or fewer cacheTokens, or take the native or the webgpu backend$/;
    expect(() => checkFits("8B", plan, mostPages)).toThrow(text);
    expect(() => checkFits("8B", plan, 2 ** 15)).toThrow(/take a smaller model, or the native or the webgpu/);
  });
});

describe("a memory", () => {
  const grants = (most: number, wanted: { least: number; best: number }) => {
    const asked: number[] = [];
    const { Memory } = WebAssembly;
    WebAssembly.Memory = class {
      constructor({ maximum = 0 }: WebAssembly.MemoryDescriptor) {
        asked.push(maximum);
        if (maximum > most) throw new RangeError("could not allocate memory");
      }
    } as unknown as typeof Memory;
    try {
      return { asked, pages: createMemory(wanted).pages };
    } finally {
      WebAssembly.Memory = Memory;
    }
  };

  it("is asked for as large as is best, else the least, else what there is", () => {
    expect(grants(65_536, { least: 2000, best: 3000 })).toEqual({ asked: [3000], pages: 3000 });
    expect(grants(2500, { least: 2000, best: 3000 })).toEqual({ asked: [3000, 2000], pages: 2000 });
    expect(grants(600, { least: 2000, best: 3000 })).toEqual({ asked: [3000, 2000, 1000, 500], pages: 500 });
    expect(() => grants(10, { least: 2000, best: 3000 })).toThrow(RangeError);
  });
});
