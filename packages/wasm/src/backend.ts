/** The WebAssembly backend: a proved variant, and machines for the programs that are loaded, one each. */
import {
  type Backend,
  BitNetError,
  type EngineOptions,
  type Executable,
  engineOperations,
  type Isa,
  type LoadOptions,
  type Program,
  type RejectedVariant,
} from "@bitnet.ts/core";
import { canShare, type Places } from "#host";
import type { Choice } from "./choose.ts";
import { type PagesWanted, pageBytes } from "./engine.ts";
import { loadExecutable } from "./load.ts";
import { Machine } from "./machine.ts";
import { mostPages } from "./memory-plan.ts";

/** As in native/engine/executable.h. */
const maxThreads = 256;
/** A machine whose memory has grown beyond this is ended rather than kept for the next program: memory never shrinks. */
const keptBytes = 64 * 2 ** 20;
/** Reservations are multiples of this, so that small programs can have each other's machines. */
const stepPages = 2048;

export class WasmBackend implements Backend {
  readonly name = "wasm";
  readonly isa: Isa;
  readonly threads: number;
  readonly rejected: readonly RejectedVariant[];
  readonly operations = engineOperations;
  readonly streams = true;
  readonly addressBytes = (mostPages - 1) * pageBytes;
  readonly #choice: Choice;
  readonly #places: Places;
  readonly #engine: EngineOptions;
  /** At most one machine without a program. */
  #idle: { machine: Machine; pages: number } | null = null;

  /** @param engine Its threads are taken as they are where memory can be shared. */
  constructor(choice: Choice, places: Places, engine: EngineOptions) {
    const { threads } = engine;
    if (!Number.isInteger(threads) || threads < 1 || threads > maxThreads)
      throw new BitNetError("INVALID_ARGUMENT", `threads ${threads} is not an integer in 1…${maxThreads}`);
    this.#choice = choice;
    this.#places = places;
    this.isa = choice.isa;
    this.threads = canShare() ? threads : 1;
    this.#engine = { ...engine, threads: this.threads };
    this.rejected = choice.rejected;
  }

  load(program: Program, options: LoadOptions): Promise<Executable> {
    const { variant } = this.#choice;
    const target = {
      ...this.#engine,
      variant,
      takeMachine: (wanted: PagesWanted) => this.#takeMachine(wanted),
      giveBack: (machine: Machine, pages: number) => this.#giveBack(machine, pages),
    };
    return loadExecutable(target, program, options);
  }

  async dispose(): Promise<void> {
    this.#idle?.machine.end();
    this.#idle = null;
  }

  /** No more is reserved than a program needs: phones count reservations. */
  async #takeMachine({ least, best }: PagesWanted): Promise<{ machine: Machine; pages: number }> {
    const idle = this.#idle;
    this.#idle = null;
    if (idle !== null && !idle.machine.isBroken) {
      if (idle.pages >= best) return idle;
      idle.machine.end();
    }
    const rounded = (pages: number) => Math.min(Math.ceil(pages / stepPages) * stepPages, mostPages);
    const pages = { least: rounded(least), best: rounded(best) };
    return Machine.start(this.#choice.module, { places: this.#places, pages, threads: this.threads });
  }

  async #giveBack(machine: Machine, pages: number): Promise<void> {
    try {
      const { memoryBytes } = await machine.ask({ kind: "destroy" });
      if (this.#idle === null && memoryBytes <= keptBytes) this.#idle = { machine, pages };
      else machine.end();
    } catch {
      machine.end();
    }
  }
}
