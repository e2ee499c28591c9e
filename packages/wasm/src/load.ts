/**
 * Loads a Program into a machine. Every weight becomes a block of its own in the engine's memory and is brought there in pieces: from files by the worker
 * itself, from memory by one copy, from elsewhere as it arrives. Nothing holds a whole file.
 */
import {
  BitNetError,
  decodeNumbers,
  EngineExecutable,
  type EngineFailure,
  type EngineOptions,
  type EnginePort,
  encodeLimits,
  encodeProgram,
  engineError,
  engineOperations,
  fitProgram,
  type LoadOptions,
  type Program,
  type SourceRef,
  throwIfAborted,
  validateProgram,
} from "@bitnet.ts/core";
import { hasFiles } from "#host";
import type { PagesWanted } from "./engine.ts";
import type { Machine } from "./machine.ts";
import { checkFits, mostPages, pagesOf, planMemory, weightBytes } from "./memory-plan.ts";
import type { FilePart } from "./messages.ts";

/** Brought at a time. */
const pieceBytes = 2 ** 23;
/** Share of the progress that the weights count for; widening and laying out is the rest. */
const fillShare = 0.95;

export interface LoadTarget extends EngineOptions {
  variant: number;
  /** A machine with that many threads, and the pages that its memory may have; less than the least where no more is granted. */
  takeMachine(wanted: PagesWanted): Promise<{ machine: Machine; pages: number }>;
  /** The machine is free again, or broken. */
  giveBack(machine: Machine, pages: number): Promise<void>;
}

/** @throws BitNetError OUT_OF_MEMORY with the arithmetic where the program does not fit. */
export async function loadExecutable(
  target: LoadTarget,
  program: Program,
  options: LoadOptions,
): Promise<EngineExecutable> {
  throwIfAborted(options.signal);
  validateProgram(program);
  const fitted = fitProgram(program, "wasm", engineOperations);
  const split = splitSources(fitted);
  const { variant, threads, allThreads, screening = true } = target;
  const plan = planMemory(fitted, options, { threads, screening });
  // Nothing is started for what can never fit.
  checkFits(program.name, plan, mostPages);
  const wanted = pagesOf(plan);
  const { machine, pages } = await target.takeMachine(wanted);
  try {
    checkFits(program.name, plan, pages);
    const hasRoom = wanted.best <= pages;
    if (!hasRoom) {
      options.onNotice?.(
        "bitnet: no room for a copy of the head's table, which would halve what a token reads",
      );
    }
    const limits = encodeLimits(options, { threads, allThreads, screening: screening && hasRoom });
    const { paths: _, ...encoded } = encodeProgram(split.program);
    const refusal = await machine.ask({ kind: "create", variant, program: encoded, limits });
    if (refusal !== null) throw engineError("wasm", refusal, fitted);
    await fillSources(machine, split.weights, fitted, options);
    const { failure, numbers } = await machine.ask({ kind: "finish" });
    if (failure !== null) throw engineError("wasm", failure, fitted);
    throwIfAborted(options.signal);
    options.onProgress?.(1);
    const port = portOf(machine, numbers, () => target.giveBack(machine, pages));
    return new EngineExecutable("wasm", port, fitted, options);
  } catch (error) {
    await target.giveBack(machine, pages);
    throw error;
  }
}

/** A weight as a source of its own, and where its bytes are. */
interface WeightSource {
  from: SourceRef;
  offset: number;
  bytes: number;
}

/** The same program with a source for each weight, two that lie at one place sharing theirs. */
function splitSources(program: Program): { program: Program; weights: WeightSource[] } {
  const weights: WeightSource[] = [];
  const places = new Map<string, number>();
  const buffers = program.buffers.map((buffer) => {
    if (buffer.class !== "weight") return buffer;
    const { tensor } = buffer;
    const from = program.sources[tensor.source];
    if (from === undefined) return buffer;
    const bytes = weightBytes(tensor);
    const place = `${tensor.source} ${tensor.offset} ${bytes}`;
    const source = places.get(place) ?? weights.push({ from, offset: tensor.offset, bytes }) - 1;
    places.set(place, source);
    return { ...buffer, tensor: { ...tensor, source, offset: 0 } };
  });
  const sources = weights.map(({ bytes }) => ({ kind: "file", path: "", size: bytes }) as const);
  return { program: { ...program, buffers, sources }, weights };
}

async function fillSources(
  machine: Machine,
  weights: readonly WeightSource[],
  program: Program,
  { onProgress, signal }: LoadOptions,
): Promise<void> {
  const total = weights.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  for (const [source, weight] of weights.entries()) {
    for (let offset = 0; offset < weight.bytes; offset += pieceBytes) {
      const length = Math.min(pieceBytes, weight.bytes - offset);
      const part = await partOf(weight, offset, length);
      const answer = await machine.ask(
        { kind: "fill", source, offset, part },
        part instanceof Uint8Array ? [part.buffer as ArrayBuffer] : [],
      );
      if (typeof answer === "object") throw engineError("wasm", answer as EngineFailure, program);
      throwIfAborted(signal);
      // Nothing reads it.
      if (!answer) break;
      onProgress?.(((done + offset + length) / total) * fillShare);
    }
    done += weight.bytes;
  }
}

/** A piece as its worker can have it: a copy of its own, or a part of a file. */
async function partOf(
  { from, offset }: WeightSource,
  at: number,
  length: number,
): Promise<Uint8Array | FilePart> {
  if (from.kind === "bytes") {
    const piece = from.bytes.subarray(offset + at, offset + at + length);
    if (piece.byteLength === length) return Uint8Array.from(piece);
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `load: the bytes of "${from.name}" were taken away while they were read`,
    );
  }
  if (from.kind === "stream") return Uint8Array.from(await from.read(offset + at, length));
  if (hasFiles) return { path: from.path, offset: offset + at, length, size: from.size };
  throw new BitNetError("INVALID_ARGUMENT", `${from.path}: a browser cannot open files by their path`);
}

function portOf(machine: Machine, loaded: ArrayBuffer, giveBack: () => Promise<void>): EnginePort {
  let numbers = loaded;
  return {
    async run(words) {
      const answer = await machine.ask({ kind: "run", words }, [words.buffer as ArrayBuffer]);
      numbers = answer.numbers;
      return answer.outcome;
    },
    releasePages: (pages) => machine.tell({ kind: "releasePages", pages }),
    // As of the last step: the engine's memory is out of reach from here.
    numbers: () => decodeNumbers(numbers),
    dispose: giveBack,
  };
}
