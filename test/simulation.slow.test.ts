/** Many seeds of the simulation; BITNET_SIMULATION_SEEDS says how many, BITNET_SIMULATION_FROM where to begin. */
import { test } from "vitest";
import { simulate } from "./simulation/simulate.ts";

const nSeeds = Number(process.env.BITNET_SIMULATION_SEEDS ?? 10_000);
const from = Number(process.env.BITNET_SIMULATION_FROM ?? 300);

test(`rules hold over ${nSeeds} seeds`, { timeout: 24 * 3600 * 1000 }, async () => {
  for (let seed = from; seed < from + nSeeds; seed++) await simulate(seed);
});
