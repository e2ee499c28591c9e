/** What goes between the thread that uses the backend and its workers. Every request but the last two is answered, in order. */
import type { EncodedProgram, EngineFailure } from "@bitnet.ts/core";
import type { PagesWanted } from "./engine.ts";

/** A part of a local file, read by the worker itself. */
export interface FilePart {
  path: string;
  offset: number;
  length: number;
  /** Of the whole file, as its header was read under. */
  size: number;
}

export type Request =
  /** Makes a memory of at most as many pages as are wanted, or granted, and the engine in it. */
  | { kind: "start"; module: WebAssembly.Module; wanted: PagesWanted }
  /** Which relaxed instructions the engine computes as it should, and how fast its dots are. */
  | { kind: "prove" }
  /** Whether a variant passes its known-answer test, given what has been proved. */
  | { kind: "check"; variant: number; proved: number }
  | { kind: "create"; variant: number; program: Omit<EncodedProgram, "paths">; limits: Int32Array }
  /** Bytes to where they belong: those given, or a part of a file. */
  | { kind: "fill"; source: number; offset: number; part: Uint8Array | FilePart }
  | { kind: "finish" }
  | { kind: "run"; words: Int32Array }
  | { kind: "destroy" }
  /** Room for the stacks of helpers; each is told through its port where it is, and the memory to share. */
  | { kind: "prepareHelpers"; ports: MessagePort[] }
  /** The same for one that could not read what came through its port. */
  | { kind: "share"; index: number }
  /** They have arrived. */
  | { kind: "setHelpers"; n: number }
  /** Helpers are to leave the pool, and nothing else is asked after it. */
  | { kind: "dismiss" };

export type Command =
  | { kind: "releasePages"; pages: Int32Array }
  /** To a worker that is to be a helper: never answered but by `ready`, after which it belongs to the pool, or by `unread`. */
  | { kind: "help"; module: WebAssembly.Module; index: number; from: MessagePort | Shared };

/**
 * What a helper works with. It goes from worker to worker where it can: whoever asked for them would keep the whole memory until its own garbage is next
 * collected, long after they have ended.
 */
export interface Shared {
  memory: WebAssembly.Memory;
  stackTop: number;
}

export interface Proofs {
  /** Bits: dot i32, dot i16, madd. */
  proved: number;
  /** Names of all variants; their indices are what `check` and `create` take. */
  variants: string[];
  /** Milliseconds that a fixed product takes with the dots of each kind; equal where not both are right. */
  dotMs: { i32: number; i16: number };
}

export interface Answers {
  start: { pages: number };
  prove: Proofs;
  /** Why not, or null. */
  check: string | null;
  create: EngineFailure | null;
  /** False: nothing reads this source. */
  fill: EngineFailure | boolean;
  /** `numbers`: the words of EngineNumbers. */
  finish: { failure: EngineFailure | null; numbers: ArrayBuffer };
  run: { outcome: ArrayBuffer | EngineFailure; numbers: ArrayBuffer };
  destroy: { liveBytes: number; memoryBytes: number };
  prepareHelpers: null;
  share: Shared;
  setHelpers: null;
  dismiss: null;
}

/** To a worker: a request with its number, or a command. */
export type ToWorker = (Request & { id: number }) | Command;

export type FromWorker =
  | { kind: "answer"; id: number; answer: unknown }
  /** The engine is in no state to go on. */
  | { kind: "broken"; message: string }
  | { kind: "ready" }
  /** What came through the port could not be read, as happens in Firefox 153. */
  | { kind: "unread" };
