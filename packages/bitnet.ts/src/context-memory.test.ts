/** What is said of a context for which there is no memory: two numbers that a reader can tell apart. */
import type { ModelConfig } from "@bitnet.ts/core";
import { expect, it, vi } from "vitest";
import { choosePages } from "./context-room.ts";
import { kvBytesPerToken, ropeTableBytes } from "./memory-bytes.ts";

const available = vi.hoisted(() => ({ bytes: 0 }));
vi.mock("#platform", () => ({ availableMemory: () => available.bytes }));

const config = { nLayers: 30, nKvHeads: 5, headDim: 128, contextLength: 4096 } as ModelConfig;
const wanted = {
  ...{ weights: 2 ** 30, kvType: "f16" as const, cacheTokens: 16_384, screening: true },
  addressBytes: Number.POSITIVE_INFINITY,
};
const needed = 16_384 * kvBytesPerToken(config, "f16");
const beside = wanted.weights + ropeTableBytes(config);

it.each([
  [2 ** 20, "1200.0 MiB", "1199.0 MiB"],
  [1, "1258291200 bytes", "1258291199 bytes"],
  [2 ** 29, "1.2 GiB", "0.7 GiB"],
])("%i bytes too few: %s, but only %s", (missing, neededText, roomText) => {
  available.bytes = beside + needed - missing;
  expect(() => choosePages(config, wanted)).toThrow(
    `needs ${neededText} of KV cache, but beside the weights only ${roomText} of memory are left`,
  );
});

it("what just fits is no error", () => {
  available.bytes = beside + needed;
  expect(choosePages(config, wanted)).toBeGreaterThan(0);
});
