/** The options that every bench takes. */
import { parseArgs } from "node:util";

export interface BenchOptions {
  /** File for the result as JSON. */
  json: string | null;
  /** The embedded model and as little work as exercises every line; for tests. */
  isQuick: boolean;
  /** null: all cores. */
  threads: number | null;
  /** null: what the bench finds right. */
  repetitions: number | null;
  /** Size of the dummy model. */
  shape: string;
  /** A model file instead of a dummy. */
  model: string | null;
  /** Instruction sets instead of all that work. */
  isas: string[] | null;
  /** Command line of another trainer (harness/trainer-peer.ts). */
  peer: string | null;
}

export const usage = `Options of every bench:
  --json FILE       write the result as JSON too
  --quick           the embedded model, as little work as possible; the numbers mean nothing
  --threads N       compute threads (default: all cores)
  --repetitions N   measured repetitions after one for warming up
  --shape NAME      size of the dummy model (default: 2b-4t); tiny: the embedded model
  --model PATH      a model file instead of a dummy
  --isa A,B         instruction sets (default: those that work here, best first)
  --peer COMMAND    train: another trainer to measure beside, such as "train x 0 1e-3 b158 {hidden} {layers} {ffn} {threads} {tokens}"
Dummy models are made once, in BITNET_BENCH_DIR (default: a folder bitnet-bench among the temporary files).`;

/** @throws Error with a message for people. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: "string" },
      quick: { type: "boolean", default: false },
      threads: { type: "string" },
      repetitions: { type: "string" },
      shape: { type: "string", default: "2b-4t" },
      model: { type: "string" },
      isa: { type: "string" },
      peer: { type: "string" },
    },
  });
  return {
    json: values.json ?? null,
    isQuick: values.quick,
    threads: parseCount("--threads", values.threads),
    repetitions: parseCount("--repetitions", values.repetitions),
    shape: values.shape,
    model: values.model ?? null,
    isas: values.isa?.split(",") ?? null,
    peer: values.peer ?? null,
  };
}

function parseCount(name: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new Error(`${name}: expected a positive integer, found ${JSON.stringify(text)}`);
}
