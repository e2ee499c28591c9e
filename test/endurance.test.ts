/**
 * A server under load of every kind does not grow: heap, memory, descriptors and timers, by the slope over rounds. Rounds are counted here,
 * so that no clock decides, and more are played, up to thirty, while something seems to grow; BITNET_ENDURANCE_MINUTES=10 runs for so long
 * instead.
 */
import { expect, test } from "vitest";
import { endure } from "./endurance/endure.ts";
import { growthOf, slopeOf, type Weight } from "./endurance/growth.ts";

const minutes = Number(process.env.BITNET_ENDURANCE_MINUTES ?? 0);
const canWeigh = process.platform === "linux";

test("a slope is the middle of all: outliers do not bend it", () => {
  expect(slopeOf([1, 3, 5, 7])).toBe(2);
  expect(slopeOf([5, 5, 900, 5, 5, 5])).toBe(0);
  expect(slopeOf([5])).toBe(0);
});

test("growth is told by name, and only growth", () => {
  const weight: Weight = { heapBytes: 1e7, residentBytes: 1e8, descriptors: 20, resources: 9 };
  const series = (change: (i: number) => Partial<Weight>) =>
    Array.from({ length: 10 }, (_, i) => ({ ...weight, ...change(i) }));
  expect(
    growthOf(
      series((i) => ({ heapBytes: 1e7 - 1e5 * i, descriptors: 20 + (i % 3) })),
      40,
    ),
  ).toEqual([]);
  expect(
    growthOf(
      series((i) => ({ descriptors: 20 + i })),
      40,
    ),
  ).toEqual(["descriptors: 0.0250 a request, 0.01 may be"]);
  const resident = (bytes: (i: number) => number) => series((i) => ({ residentBytes: 1e8 + bytes(i) }));
  expect(
    growthOf(
      resident((i) => 1e6 * Math.min(i, 4)),
      40,
    ),
  ).toEqual([]);
  expect(
    growthOf(
      resident((i) => 7e5 * i),
      40,
    ),
  ).toEqual([]);
  expect(
    growthOf(
      resident((i) => 4.4e6 * i),
      400,
    ),
  ).toEqual(["residentBytes: 1.10e+4 a request, 8192 may be"]);
});

test.skipIf(!canWeigh)(
  "what every request leaves behind is found, were it 600 bytes or a tenth of a file",
  {
    timeout: 600_000,
  },
  async () => {
    const { growth } = await endure((round) => round === 6, { leaks: true });
    expect(growth.map((line) => line.split(":")[0])).toEqual(
      expect.arrayContaining(["heapBytes", "descriptors"]),
    );
  },
);

test.skipIf(!canWeigh)("a server does not grow", { timeout: 360_000 + 120_000 * minutes }, async () => {
  const end = performance.now() + 60_000 * minutes;
  const isOver = (round: number, growth: readonly string[]) =>
    round >= 30 || minutes > 0 ? performance.now() >= end : round >= 10 && growth.length === 0;
  const say = minutes > 0 ? (line: string) => console.info(line) : () => {};
  const { growth, weights, nRequests } = await endure(isOver, { say });
  expect(growth, JSON.stringify(weights)).toEqual([]);
  if (minutes > 0) console.info(`${nRequests} requests in ${minutes} minutes`);
});
