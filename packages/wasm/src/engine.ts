/** One instance of the engine, as a worker holds it: its exports with types, and what lies in its memory. */
import type { EngineFailure } from "@bitnet.ts/core";

/** Must equal what `bitnet_version` in native/engine/wasm/exports.cc returns. */
const engineVersion = 4;
export const pageBytes = 65536;
/** What a memory begins with; the modules are linked for that. */
export const initialPages = 64;
/** Of each thread: panels of weights need more than the usual 64 KB. */
export const stackBytes = 2 ** 20;

type Pointer = number;

interface Exports {
  __stack_pointer: WebAssembly.Global;
  bitnet_version(): number;
  bitnet_start(): void;
  bitnet_allocate(bytes: number): Pointer;
  bitnet_free(block: Pointer, bytes: number): void;
  bitnet_live_bytes(): number;
  bitnet_wrong_instructions(): number;
  bitnet_set_proved(proofs: number): void;
  bitnet_try_speed(variant: number): number;
  bitnet_variant_name(variant: number): Pointer;
  bitnet_check_variant(variant: number): Pointer;
  /** `scales`: so many pairs of a place and a count. */
  bitnet_create(
    variant: number,
    limits: Pointer,
    words: Pointer,
    nWords: number,
    scales: Pointer,
    nScales: number,
  ): Pointer;
  bitnet_source_room(executable: Pointer, source: number, offset: number, n: number): Pointer;
  bitnet_finish(executable: Pointer): number;
  bitnet_release_pages(executable: Pointer, pages: Pointer, n: number): void;
  bitnet_numbers(executable: Pointer): Pointer;
  bitnet_numbers_bytes(): number;
  bitnet_destroy(executable: Pointer): void;
  bitnet_run(executable: Pointer, words: Pointer, nWords: number): number;
  bitnet_result(): Pointer;
  bitnet_result_words(): number;
  bitnet_end_step(): void;
  bitnet_failure_code(): Pointer;
  bitnet_failure_message(): Pointer;
  bitnet_failure_op(): number;
  bitnet_failure_row(): number;
  bitnet_set_helpers(n: number): void;
  bitnet_help(index: number): void;
  bitnet_dismiss(): void;
}

/** Pages that a memory is to have at least, and at best. */
export interface PagesWanted {
  least: number;
  best: number;
}

type ListType = Uint8Array | Int32Array | Uint32Array | Float32Array | Float64Array;

const decoder = new TextDecoder();

export class Engine {
  readonly memory: WebAssembly.Memory;
  readonly call: Exports;

  private constructor(memory: WebAssembly.Memory, call: Exports) {
    this.memory = memory;
    this.call = call;
  }

  /** @param isFirst The first instance in a memory sets it up. */
  static async open(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    isFirst: boolean,
  ): Promise<Engine> {
    const { exports } = await WebAssembly.instantiate(module, { env: { memory } });
    const call = exports as unknown as Exports;
    const version = call.bitnet_version();
    if (version !== engineVersion)
      throw new Error(`the module has version ${version}, expected ${engineVersion}`);
    if (isFirst) call.bitnet_start();
    return new Engine(memory, call);
  }

  /** `n` bytes of memory as they are now; a view is good until memory grows. */
  bytes(at: Pointer, n: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, at, n);
  }

  /** A copy of memory that is not shared. */
  copy(at: Pointer, n: number): ArrayBuffer {
    const copy = new Uint8Array(n);
    copy.set(this.bytes(at, n));
    return copy.buffer;
  }

  /** The text that ends in a zero, or null for no text. */
  text(at: Pointer): string | null {
    if (at === 0) return null;
    const all = new Uint8Array(this.memory.buffer);
    let end = at;
    while (all[end] !== 0) end++;
    return decoder.decode(this.copy(at, end - at));
  }

  /** Runs `use` with the places of copies of these arrays, which are taken back afterwards. @throws RangeError without memory. */
  withCopies<T>(arrays: readonly ListType[], use: (...places: Pointer[]) => T): T {
    const blocks: { at: Pointer; bytes: number }[] = [];
    try {
      for (const { buffer, byteOffset, byteLength } of arrays) {
        const bytes = Math.max(byteLength, 1);
        const at = this.call.bitnet_allocate(bytes);
        if (at === 0) throw new RangeError(`no memory for ${bytes} bytes`);
        blocks.push({ at, bytes });
        this.bytes(at, byteLength).set(new Uint8Array(buffer, byteOffset, byteLength));
      }
      return use(...blocks.map(({ at }) => at));
    } finally {
      for (const { at, bytes } of blocks) this.call.bitnet_free(at, bytes);
    }
  }

  /** What went wrong in the last call, or null. */
  failure(): EngineFailure | null {
    const { call } = this;
    const code = this.text(call.bitnet_failure_code()) ?? "INTERNAL";
    if (code === "NONE") return null;
    const message = this.text(call.bitnet_failure_message()) ?? "";
    return { code, message, op: call.bitnet_failure_op(), row: call.bitnet_failure_row() };
  }

  /** The words of EngineNumbers. */
  numbers(executable: Pointer): ArrayBuffer {
    return this.copy(this.call.bitnet_numbers(executable), this.call.bitnet_numbers_bytes());
  }
}

/**
 * Phones refuse large reservations, although nothing of them is used yet: the best, or the least, or else half of that and so on, for whoever asks
 * to tell how much there is.
 * @throws RangeError when not even the initial memory is granted.
 */
export function createMemory({ least, best }: PagesWanted): { memory: WebAssembly.Memory; pages: number } {
  for (let pages = best; ; pages = pages > least ? least : Math.floor(pages / 2)) {
    try {
      const memory = new WebAssembly.Memory({ initial: initialPages, maximum: pages, shared: true });
      return { memory, pages };
    } catch (error) {
      if (pages < 2 * initialPages) throw error;
    }
  }
}
