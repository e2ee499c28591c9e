/** What the three kinds of `bitnet bench` share: their flags, the check of lengths, and repetitions taken in turn. */
import { BitNetError } from "@bitnet.ts/core";
import type { BitNet } from "bitnet.ts";
import { type RunSample, runOnce } from "./bench-run.ts";
import type { ScenarioName } from "./bench-scenarios.ts";
import type { ModelFlags } from "./options.ts";
import type { Session } from "./session.ts";
import { startProgress } from "./terminal.ts";

export interface BenchFlags extends ModelFlags {
  nPrompt: number;
  nGen: number;
  repetitions: number;
  seed: number;
  json?: boolean;
  levels?: boolean;
  scenario?: ScenarioName;
  expectDecodeShare?: number;
  expectPrefill?: number;
}

export async function printResult(
  session: Session,
  { json }: BenchFlags,
  result: unknown,
  text: string,
): Promise<void> {
  await session.write(json ? `${JSON.stringify(result)}\n` : `${text}\n`);
}

export function checkLength({ info }: BitNet, { nPrompt, nGen }: BenchFlags): void {
  if (nPrompt + nGen <= info.contextLength) return;
  throw new BitNetError(
    "CONTEXT_EXCEEDED",
    `bench: ${nPrompt} prompt tokens and ${nGen} to generate are more than the context of ${info.contextLength}; choose smaller -p and -n`,
  );
}

/** Each repetition of each model in turn, so that what else the machine does meets all of them alike. */
export async function sampleInTurn(
  models: readonly BitNet[],
  flags: Pick<BenchFlags, "nPrompt" | "nGen" | "repetitions" | "seed">,
  signal: AbortSignal,
): Promise<RunSample[][]> {
  const progress = startProgress("Measuring");
  const samples: RunSample[][] = models.map(() => []);
  try {
    for (let run = 0; run <= flags.repetitions; run++) {
      for (const [i, model] of models.entries()) {
        const sample = await runOnce(model, { ...flags, signal }, run);
        if (run > 0) samples[i]?.push(sample);
        progress.update((run * models.length + i + 1) / ((flags.repetitions + 1) * models.length));
      }
    }
  } finally {
    progress.end();
  }
  return samples;
}
