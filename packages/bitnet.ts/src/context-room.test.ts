/** How much context a model gets where a backend has only so many addresses. */
import type { ModelConfig } from "@bitnet.ts/core";
import { pageTokens } from "@bitnet.ts/core";
import { describe, expect, it } from "vitest";
import { chooseContext, choosePages, fitContext, type RoomWanted } from "./context-room.ts";

const addressBytes = 2 ** 32 - 2 ** 16;
const unbounded = Number.POSITIVE_INFINITY;
/** Of Microsoft's 2B-4T, and of Falcon3 7B: 1.8 GB of ternary weights and two tables of 805 MB. */
const small = { nLayers: 30, nKvHeads: 5, headDim: 128, vocabSize: 128_256, hiddenSize: 2560 };
const large = { nLayers: 28, nKvHeads: 4, headDim: 256, vocabSize: 131_072, hiddenSize: 3072 };
const configOf = (shape: object, contextLength: number) => ({ ...shape, contextLength }) as ModelConfig;
const room = (weights: number, more: Partial<RoomWanted> = {}): RoomWanted => ({
  ...{ weights, kvType: "f16", cacheTokens: undefined, screening: true, addressBytes },
  ...more,
});

describe("the context", () => {
  it("is the usual one where everything fits", () => {
    expect(fitContext(configOf(small, 4096), undefined, room(1.18e9))).toBe(4096);
    expect(fitContext(configOf(large, 32_768), undefined, room(3e9, { addressBytes: unbounded }))).toBe(
      32_768,
    );
  });

  it("is shorter where it does not, in whole pages, with room for the head's copy", () => {
    const tokens = fitContext(configOf(large, 32_768), undefined, room(3.1e9));
    const perToken = 2 * 28 * 4 * 256 * 2 + 256 * 4;
    const left = addressBytes - 3.1e9 - 131_072 * (3072 + 76) - 2 ** 27;
    expect(tokens).toBe(Math.floor(left / perToken / pageTokens) * pageTokens);
    expect(tokens).toBeGreaterThan(2048);
  });

  it("is worth more than the head's copy", () => {
    const weights = 3.6e9;
    const withCopy = addressBytes - weights - 131_072 * (3072 + 76) - 2 ** 27;
    expect(withCopy / (2 * 28 * 4 * 256 * 2)).toBeLessThan(2048);
    expect(fitContext(configOf(large, 32_768), undefined, room(weights))).toBeGreaterThanOrEqual(2048);
  });

  it("stays what was asked for, and where nothing helps: the backend tells by how much", () => {
    const asked = {
      ...configOf(large, 32_768),
      contextLength: chooseContext(configOf(large, 32_768), 30_000),
    };
    expect(fitContext(asked, 30_000, room(3.1e9))).toBe(30_000);
    expect(fitContext(configOf(large, 32_768), undefined, room(4.2e9))).toBe(32_768);
  });
});

describe("the cache", () => {
  it("has four contexts, but little beyond the first where addresses are few", () => {
    const config = configOf(small, 4096);
    expect(choosePages(config, room(1.18e9, { addressBytes: unbounded }))).toBe((4 * 4096) / pageTokens);
    const spare = Math.floor(2 ** 29 / (2 * 30 * 5 * 128 * 2));
    expect(choosePages(config, room(1.18e9))).toBe(Math.ceil((4096 + spare) / pageTokens));
    expect(choosePages(config, room(1.18e9, { cacheTokens: 9000 }))).toBe(Math.ceil(9000 / pageTokens));
  });

  it("leaves half of the addresses, but has one context", () => {
    expect(choosePages(configOf(large, 4096), room(3.6e9))).toBe(4096 / pageTokens);
  });
});
