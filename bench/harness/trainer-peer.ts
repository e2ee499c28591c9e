/**
 * Other trainers, to be measured beside ours on models of the same shape and steps of as many tokens: any program, by its command line,
 * and PyTorch, where Python has it. Neither is a dependency of this repository.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";

export interface TrainerShape {
  hiddenSize: number;
  ffnSize: number;
  nLayers: number;
  nHeads: number;
  vocabSize: number;
  /** Tokens of a document. */
  length: number;
  /** Tokens of an optimiser step. */
  batchTokens: number;
}

export interface TrainerPeer {
  readonly name: string;
  readonly pid: number;
  /** Seconds of so many optimiser steps. */
  seconds(nSteps: number): Promise<number>;
  stop(): Promise<void>;
}

/**
 * A program that trains on `train.bin` of the folder it is started in (16-bit token ids) and ends.
 * @param command Its path and arguments, in which `{hidden}`, `{layers}`, `{ffn}`, `{heads}`, `{threads}` and `{tokens}` are put in.
 */
export function programPeer(command: string, shape: TrainerShape, threads: number): TrainerPeer {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-trainer-"));
  const ids = (count: number) =>
    new Uint8Array(Uint16Array.from({ length: count }, (_, i) => (i * 7919) % shape.vocabSize).buffer);
  writeFileSync(join(folder, "train.bin"), ids(2 ** 18));
  // What such programs evaluate on, too short for that to take time.
  writeFileSync(join(folder, "val.bin"), ids(2 * shape.length));
  writeFileSync(join(folder, "val.msk"), new Uint8Array(2 * shape.length));
  const run = (nSteps: number): number => {
    const numbers: Record<string, number> = {
      hidden: shape.hiddenSize,
      layers: shape.nLayers,
      ffn: shape.ffnSize,
      heads: shape.nHeads,
      threads,
      tokens: nSteps * shape.batchTokens,
    };
    const filled = command.replaceAll(/\{(\w+)\}/g, (whole, name: string) => String(numbers[name] ?? whole));
    const [program = "", ...args] = filled.split(" ").filter((part) => part !== "");
    const begun = performance.now();
    const { status, stderr, error } = spawnSync(program, args, { cwd: folder, encoding: "utf8" });
    if (status !== 0)
      throw new Error(
        `--peer ${filled}: ended with status ${status}: ${error?.message ?? stderr.slice(-200)}`,
      );
    return (performance.now() - begun) / 1000;
  };
  // What its start and first step take is taken off: the least of all times so far, as a start that was disturbed would make the steps look short.
  let start = Number.POSITIVE_INFINITY;
  return {
    name: "peer",
    pid: 0,
    seconds: async (nSteps) => {
      start = Math.min(start, run(1));
      return run(1 + nSteps) - start;
    },
    stop: async () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Null where Python or PyTorch is missing. */
export async function torchPeer(shape: TrainerShape, threads: number): Promise<TrainerPeer | null> {
  const probe = ["-c", "import torch; print(torch.__version__)"];
  const [python, version] = ["python3", "/usr/bin/python3"].flatMap((command) => {
    const { status, stdout } = spawnSync(command, probe, { encoding: "utf8" });
    return status === 0 ? [command, stdout.trim()] : [];
  });
  if (python === undefined) return null;
  const program = join(import.meta.dirname, "..", "..", "..", "bench", "children", "torch-trainer.py");
  const child = spawn(python, [program, JSON.stringify({ ...shape, threads })], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  return {
    name: `PyTorch ${version}`,
    pid: child.pid ?? 0,
    seconds: async (nSteps) => {
      const answer = nextLine(lines, child);
      child.stdin.write(`${nSteps}\n`);
      return Number(await answer);
    },
    stop: async () => {
      if (child.exitCode !== null) return;
      const ended = once(child, "exit");
      child.stdin.end();
      await ended;
    },
  };
}

/** @throws Error when the process ends first. */
async function nextLine(lines: Interface, child: ChildProcess): Promise<string> {
  const stop = new AbortController();
  const { signal } = stop;
  try {
    const [line] = await Promise.race([
      once(lines, "line", { signal }),
      once(child, "exit", { signal }).then(([status]) => {
        throw new Error(`PyTorch ended with status ${status}`);
      }),
    ]);
    return line as string;
  } finally {
    stop.abort();
  }
}
