/**
 * The native backend: an instruction set that has proved itself and a number of threads of the process's one compute pool. Any number of
 * backends may stand side by side.
 */
import {
  type Backend,
  BitNetError,
  type Executable,
  engineOperations,
  type Isa,
  type LoadOptions,
  type Program,
  type RejectedVariant,
  type ScreeningOption,
} from "@bitnet.ts/core";
import { loadBinding, type NativeBinding } from "./binding.ts";
import { type LoadTarget, loadExecutable } from "./load.ts";
import { callNative } from "./native-error.ts";

/** As in engine/pool.h. */
const maxThreads = 256;

/** @throws BitNetError BACKEND_UNAVAILABLE with the reason. */
export function requireBinding(): NativeBinding {
  const loaded = loadBinding();
  if (loaded.binding === null) {
    throw new BitNetError("BACKEND_UNAVAILABLE", loaded.reason);
  }
  return loaded.binding;
}

interface OpenOptions extends ScreeningOption {
  /** Every step runs on all threads (default); otherwise a small step gets only as many as it is worth. */
  allThreads?: boolean;
}

/**
 * @param threads Taken as it is, even if it exceeds the cores.
 * @param isa The only instruction set to consider; undefined for the best that works.
 * @throws BitNetError BACKEND_UNAVAILABLE, INVALID_ARGUMENT.
 */
export function openBackend(
  threads: number,
  isa: string | undefined,
  { allThreads = true, screening = true }: OpenOptions = {},
): NativeBackend {
  if (!Number.isInteger(threads) || threads < 1 || threads > maxThreads) {
    throw new BitNetError("INVALID_ARGUMENT", `threads ${threads} is not an integer in 1…${maxThreads}`);
  }
  const binding = requireBinding();
  const choice = callNative(() => binding.selectKernels(isa));
  const reserved = binding.reserveThreads(threads);
  if (reserved === 0) {
    throw new BitNetError("BACKEND_UNAVAILABLE", "the native backend could not start a thread");
  }
  const target = { binding, isa: choice.isa, threads: reserved, allThreads, screening };
  return new NativeBackend(target, choice.rejected);
}

class NativeBackend implements Backend {
  readonly name = "native";
  readonly isa: Isa;
  readonly threads: number;
  readonly rejected: readonly RejectedVariant[];
  readonly operations = engineOperations;
  readonly #target: LoadTarget;

  constructor(target: LoadTarget, rejected: readonly RejectedVariant[]) {
    this.#target = target;
    this.isa = target.isa as Isa;
    this.threads = target.threads;
    this.rejected = rejected;
  }

  load(program: Program, options: LoadOptions): Promise<Executable> {
    return loadExecutable(this.#target, program, options);
  }
}
