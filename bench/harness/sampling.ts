/**
 * Repetitions of several cases in turn (A B A B …), so that whatever else the machine does meets all of them alike. A sample during which
 * others were busy is taken again, a few times at most; where that was in vain, no later one is until a sample was undisturbed: it would only take
 * longer.
 */
import { median } from "@bitnet.ts/cli/measuring";
import { watchOthers } from "./machine.ts";

export interface Case<S> {
  name: string;
  /** @param run Number of the run, never the same twice for one case; the first warms up. */
  sample(run: number): Promise<S>;
}

export interface SamplingOptions {
  repetitions: number;
  /** Tries per sample. */
  attempts: number;
  /** Processes that belong to the measurement beside this one. */
  pids?: readonly number[];
  /** Measured once in every round, too. */
  betweenRounds?: () => Promise<void>;
  /** Begins to watch what share of the machine others take. */
  watch?: typeof watchOthers;
  /** Called after every sample with the fraction done. */
  onProgress?: (fraction: number, name: string) => void;
}

export interface Sampled<S> {
  /** Per case, in their order. */
  samples: S[][];
  /** Median share of the machine's time that others took. */
  disturbance: number | null;
}

/** Above this share of others, a sample is taken again. */
const quiet = 0.05;

export async function sampleInTurn<S>(
  cases: readonly Case<S>[],
  options: SamplingOptions,
): Promise<Sampled<S>> {
  const samples: S[][] = cases.map(() => []);
  const disturbances: number[] = [];
  const total = (options.repetitions + 1) * cases.length;
  let isWorthwhile: boolean = true;
  for (let repetition = 0; repetition <= options.repetitions; repetition++) {
    await options.betweenRounds?.();
    for (const [i, each] of cases.entries()) {
      const attempts: number = repetition > 0 && isWorthwhile ? options.attempts : 1;
      const { sample, others }: Taken<S> = await sampleQuietly(each, {
        firstRun: repetition * options.attempts,
        attempts,
        watch: () => (options.watch ?? watchOthers)(options.pids ?? []),
      });
      if (repetition > 0) {
        isWorthwhile = (others ?? 0) <= quiet;
        samples[i]?.push(sample);
        if (others !== null) disturbances.push(others);
      }
      options.onProgress?.((repetition * cases.length + i + 1) / total, each.name);
    }
  }
  return { samples, disturbance: disturbances.length === 0 ? null : median(disturbances) };
}

interface Taken<S> {
  sample: S;
  /** Share of the machine's time meanwhile. */
  others: number | null;
}

/** The least disturbed of several tries. */
async function sampleQuietly<S>(
  { sample }: Case<S>,
  { firstRun, attempts, watch }: { firstRun: number; attempts: number; watch: () => () => number | null },
): Promise<Taken<S>> {
  let best: Taken<S> | undefined;
  for (let attempt = 0; attempt < attempts || best === undefined; attempt++) {
    const stop = watch();
    const taken = { sample: await sample(firstRun + attempt), others: stop() };
    if (best === undefined || (taken.others ?? 0) < (best.others ?? 0)) best = taken;
    if ((best.others ?? 0) <= quiet) break;
  }
  return best;
}
