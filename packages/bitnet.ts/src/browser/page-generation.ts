/** A generation as the page has it: its pieces and its result come from the worker by messages. */
import type { PromptProgress } from "@bitnet.ts/core";
import type { GenerationResult, GenerationSource, TokenPiece } from "../generation.ts";
import { fromWire, type ToEngine, type ToPage } from "./messages.ts";

/** Pieces that may be on their way: enough to hide the latency of messages, few enough that a reader who pauses pauses the model. */
const roomForPieces = 16;

type Answer = Extract<ToPage, { kind: "prompt" | "piece" | "end" | "result" | "failed" }>;

/** What arrives for one generation, until it is asked for. */
export class Incoming {
  readonly result: Promise<GenerationResult>;
  private readonly id: number;
  private readonly post: (message: ToEngine) => void;
  private settle: { resolve: (result: GenerationResult) => void; reject: (error: unknown) => void };
  private readonly pieces: TokenPiece[] = [];
  private outcome: { error: unknown } | null = null;
  private wake = () => {};
  /** Nothing more will come, or nobody wants it. */
  onOver = () => {};
  onPrompt: (progress: PromptProgress) => void = () => {};
  private isSettled = false;

  constructor(id: number, post: (message: ToEngine) => void) {
    this.id = id;
    this.post = post;
    let settle: typeof this.settle | null = null;
    this.result = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.settle = settle as unknown as typeof this.settle;
    this.result.catch(() => {}); // whoever awaits it sees the error
  }

  receive(answer: Answer): void {
    if (answer.kind === "prompt") this.tell(answer.progress);
    if (answer.kind === "piece") this.pieces.push(answer.piece);
    if (answer.kind === "end") this.end(answer.error && fromWire(answer.error));
    if (answer.kind === "result") {
      this.isSettled = true;
      this.settle.resolve(answer.result);
    }
    if (answer.kind === "failed") this.fail(fromWire(answer.error));
    this.wake();
  }

  /** As in the scheduler, what a caller throws fails his generation. */
  private tell(progress: PromptProgress): void {
    try {
      this.onPrompt(progress);
    } catch (error) {
      this.fail(error);
      this.post({ kind: "abort", id: this.id });
    }
  }

  /** The generation, or the worker with it, has failed. */
  fail(error: unknown): void {
    this.isSettled = true;
    this.settle.reject(error);
    this.end(error);
  }

  private end(error: unknown): void {
    this.outcome ??= { error };
    this.wake();
    if (this.isSettled) this.onOver();
  }

  read(): AsyncIterator<TokenPiece, undefined> {
    this.post({ kind: "room", id: this.id, pieces: roomForPieces });
    return { next: () => this.next(), return: () => this.leave() };
  }

  private async next(): Promise<IteratorResult<TokenPiece, undefined>> {
    while (this.pieces.length === 0 && this.outcome === null)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    const value = this.pieces.shift();
    if (value !== undefined) {
      this.post({ kind: "room", id: this.id, pieces: 1 });
      return { done: false, value };
    }
    const error = this.outcome?.error ?? null;
    if (error !== null) throw error;
    return { done: true, value: undefined };
  }

  private async leave(): Promise<{ done: true; value: undefined }> {
    this.pieces.length = 0;
    this.outcome ??= { error: null };
    this.wake();
    this.post({ kind: "leave", id: this.id });
    await this.result.catch(() => {});
    return { done: true, value: undefined };
  }
}

export function pageSource(incoming: Incoming): GenerationSource {
  return { result: incoming.result, read: () => incoming.read() };
}
