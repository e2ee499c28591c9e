/**
 * One loaded program of the C++ engine as an Executable, wherever the engine runs: steps run one after another, pages are released between
 * steps, and disposing waits for the step in flight. Knows nothing of how a program gets loaded.
 */
import { BitNetError } from "../../base/errors.ts";
import type { Executable, LoadOptions, MemoryReport } from "../backend.ts";
import type { Program } from "../program.ts";
import type { Step, StepResult } from "../step.ts";
import { validateStep } from "../validate.ts";
import { askedOf, decodeResult } from "./decode-result.ts";
import { encodeStep, headWants } from "./encode-step.ts";
import { type EngineFailure, engineError } from "./engine-failure.ts";
import { engineRecords } from "./engine-records.ts";
import type { ScreeningReport } from "./screening.ts";
import { type RecordValues, readRecord } from "./word-record.ts";

export type EngineNumbers = RecordValues<typeof engineRecords.engineNumbers>;

/** From the words that the engine writes them in. */
export function decodeNumbers(words: ArrayBuffer): EngineNumbers {
  return readRecord(words, 0, engineRecords.engineNumbers);
}

/** A loaded program of the engine. Never asked for two runs at once, nor for anything after `dispose`. May throw BitNetErrors. */
export interface EnginePort {
  run(words: Int32Array): Promise<ArrayBuffer | EngineFailure>;
  releasePages(pages: Int32Array): void;
  numbers(): EngineNumbers;
  dispose(): void | Promise<void>;
}

export class EngineExecutable implements Executable {
  readonly program: Program;
  readonly wants = headWants;
  readonly #backend: string;
  readonly #port: EnginePort;
  readonly #options: LoadOptions;
  /** Resolves when everything asked for so far is done. Never rejects. */
  #tail: Promise<void> = Promise.resolve();
  #nWaiting = 0;
  #disposal: Promise<void> | undefined;

  /** @param backend Begins the messages of errors. */
  constructor(backend: string, port: EnginePort, program: Program, options: LoadOptions) {
    this.#backend = backend;
    this.#port = port;
    this.program = program;
    const { kvType, nPages, maxRows } = options;
    this.#options = { kvType, nPages, maxRows };
  }

  async run(step: Step): Promise<StepResult> {
    this.#assertLive();
    validateStep(this.program, this.#options, step);
    const words = encodeStep(step);
    const asked = askedOf(step);
    const outcome = await this.#inTurn(() => {
      this.#assertLive();
      return this.#port.run(words);
    });
    if ("code" in outcome) throw engineError(this.#backend, outcome, this.program);
    return decodeResult(outcome, this.program, asked);
  }

  releasePages(pages: Int32Array): void {
    this.#assertLive();
    const { nPages } = this.#options;
    const wrong = pages.find((page) => page < 0 || page >= nPages);
    if (wrong !== undefined) {
      throw new BitNetError("INVALID_ARGUMENT", `releasePages: page ${wrong} is not in 0…${nPages - 1}`);
    }
    const copy = pages.slice();
    const release = () => this.#port.releasePages(copy);
    if (this.#nWaiting === 0) {
      release();
      return;
    }
    // A step in flight may still use them.
    void this.#inTurn(async () => {
      if (this.#disposal === undefined) release();
    });
  }

  memory(): MemoryReport {
    this.#assertLive();
    const { privateBytes, mappedBytes, kvBytesPerToken } = this.#port.numbers();
    return { privateBytes, mappedBytes, kvBytesPerToken };
  }

  reports(): { screening: ScreeningReport } {
    this.#assertLive();
    const { screenBytes, headsScreened, headsWhole, headCandidates } = this.#port.numbers();
    return {
      screening: {
        bytes: screenBytes,
        screened: headsScreened,
        full: headsWhole,
        candidates: headCandidates,
      },
    };
  }

  dispose(): Promise<void> {
    if (this.#disposal === undefined) {
      // Assigned before waiting, so that steps that have not begun are refused.
      this.#disposal = this.#inTurn(async () => this.#port.dispose());
    }
    return this.#disposal;
  }

  /** Starts `task` when everything before it is done. */
  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    this.#nWaiting++;
    const result = this.#tail.then(task);
    const settled = () => {
      this.#nWaiting--;
    };
    this.#tail = result.then(settled, settled);
    return result;
  }

  #assertLive(): void {
    if (this.#disposal !== undefined) {
      throw new BitNetError("DISPOSED", `${this.#backend}: ${this.program.name} was disposed; load it again`);
    }
  }
}
