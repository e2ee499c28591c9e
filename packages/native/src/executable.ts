/**
 * One loaded program of the addon as an Executable: steps run one after another, pages are released between steps, and disposing waits for
 * the step in flight. Knows nothing of how a program gets loaded.
 */
import {
  BitNetError,
  type Executable,
  type HeadReport,
  type LoadOptions,
  type MemoryReport,
  type Program,
  type Step,
  type StepResult,
  validateStep,
} from "@bitnet.ts/core";
import type { NativeBinding, NativeHandle } from "./binding.ts";
import { askedOf, decodeResult } from "./decode-result.ts";
import { encodeStep, headWants } from "./encode-step.ts";
import { callNative, failureError } from "./native-error.ts";

export class NativeExecutable implements Executable {
  readonly program: Program;
  readonly wants = headWants;
  readonly #binding: NativeBinding;
  readonly #handle: NativeHandle;
  readonly #options: LoadOptions;
  /** Resolves when everything asked for so far is done. Never rejects. */
  #tail: Promise<void> = Promise.resolve();
  #nWaiting = 0;
  #disposal: Promise<void> | undefined;

  constructor(binding: NativeBinding, handle: NativeHandle, program: Program, options: LoadOptions) {
    this.#binding = binding;
    this.#handle = handle;
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
      return callNative(() => this.#binding.run(this.#handle, words));
    });
    if ("code" in outcome) throw failureError(outcome, this.program);
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
    const release = () => callNative(() => this.#binding.releasePages(this.#handle, copy));
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
    const [privateBytes, mappedBytes, kvBytesPerToken, screenBytes] = callNative(() =>
      this.#binding.memory(this.#handle),
    );
    return { privateBytes, mappedBytes, kvBytesPerToken, screenBytes };
  }

  headReport(): HeadReport {
    this.#assertLive();
    const [, , , , screened, full, candidates] = callNative(() => this.#binding.memory(this.#handle));
    return { screened, full, candidates };
  }

  dispose(): Promise<void> {
    if (this.#disposal === undefined) {
      // Assigned before waiting, so that steps that have not begun are refused.
      this.#disposal = this.#inTurn(async () => callNative(() => this.#binding.dispose(this.#handle)));
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
      throw new BitNetError("DISPOSED", `native: ${this.program.name} was disposed; load it again`);
    }
  }
}
