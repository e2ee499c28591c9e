/** Rounds of mixed load against a server that is weighed after each. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Chance } from "../simulation/chance.ts";
import { growthOf, type Weight } from "./growth.ts";
import { playRound, requestsInRound } from "./mixed-load.ts";
import { startWeighed, type WeighedServer } from "./weighing.ts";

const nClients = 4;
/** Until caches that are bounded have been filled, and code has been compiled. */
const warmUpRounds = 6;

export interface Endured {
  readonly weights: readonly Weight[];
  readonly nRequests: number;
  /** Empty when nothing grows. */
  readonly growth: readonly string[];
}

/**
 * What leaks grows in every stretch of time, what is merely being warmed up in the first only: the later half of the rounds is judged, and
 * at least ten of them.
 *
 * @param isOver Asked after each round, which counts from 1, with what grows so far; at least a handful of rounds make a slope.
 */
export async function endure(
  isOver: (round: number, growth: readonly string[]) => boolean,
  { leaks = false, say = () => {} }: { leaks?: boolean; say?: (line: string) => void } = {},
): Promise<Endured> {
  const folder = await mkdtemp(join(tmpdir(), "bitnet-endurance-"));
  // What is kept on purpose is kept within the first rounds already.
  const bounds = [
    "--cache-bytes",
    "65536",
    "--ctx-size",
    "256",
    "--parallel",
    "4",
    "--monitor-interval",
    "1",
  ];
  const server = await startWeighed([...bounds, "--data", folder], { leaks });
  const chance = new Chance(19);
  const weights: Weight[] = [];
  const between = requestsInRound(nClients);
  const growth = () =>
    growthOf(weights.slice(Math.max(0, Math.min(weights.length >> 1, weights.length - 10))), between);
  try {
    for (let round = 1 - warmUpRounds; ; round++) {
      await playRound(server, chance, nClients);
      await untilQuiet(server);
      if (round < 1) continue;
      const weight = await server.weigh();
      weights.push(weight);
      say(JSON.stringify(weight));
      if (isOver(round, growth())) break;
    }
  } finally {
    await server.end();
    await rm(folder, { recursive: true });
  }
  return { weights, nRequests: between * weights.length, growth: growth() };
}

/** Clients that have left are noticed a moment later. */
async function untilQuiet(server: WeighedServer): Promise<void> {
  for (;;) {
    const text = await (await server.get("/metrics")).text();
    const names = ["num_requests_running", "num_requests_waiting", "num_batches", "num_batch_lines_running"];
    if (names.every((name) => text.includes(`bitnet_${name} 0\n`))) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
