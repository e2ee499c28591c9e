/**
 * What `generate` and `send` give: one running generation as pieces, as a stream of text, as the whole text, or as a result that
 * survives JSON. Wraps the scheduler's generations; knows nothing of models.
 */
import type {
  GenerationTimings,
  PieceIterator,
  Generation as RawGeneration,
  TokenLogprob as RawLogprob,
  TokenPiece as RawPiece,
  GenerationResult as RawResult,
  TopLogprob as RawTop,
  StopReason,
} from "@bitnet.ts/core";
import { BitNetError } from "@bitnet.ts/core/base";

/** A token with its log-probability: log-softmax of the logits before penalties, biases and temperature. */
export interface TopLogprob {
  id: number;
  /** The token alone; U+FFFD for bytes that are no whole character. */
  text: string;
  logprob: number;
}

export interface TokenLogprob extends TopLogprob {
  /** The best tokens, best first, as many as were asked for. */
  top: readonly TopLogprob[];
}

/**
 * What one sampled token adds. Pieces stand for the tokens of `GenerationResult.ids` in order. One more piece follows when
 * the token that ended the generation (not in `ids`) still sets text free; it carries that token's id. The pieces' texts,
 * joined, are the result's text.
 */
export interface TokenPiece {
  id: number;
  /** May be empty: a character may span tokens, and a possible stop text is held back. */
  text: string;
  /** With `thinking`: whether the text is thought or answered. */
  channel?: "thinking" | "answer";
  /** With `logprobs`, except in the piece of a token that ended the generation. */
  logprob?: number;
  top?: readonly TopLogprob[];
}

/** A call that the model has made, with arguments that satisfy the schema of the tool. */
export interface ParsedToolCall {
  /** Unique within its conversation. */
  readonly id: string;
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** Plain data: what `JSON.stringify` makes of it, `JSON.parse` gives back. */
export interface GenerationResult {
  /** Without the stop text. After "abort": what had been set free until then. */
  text: string;
  /** With `tools`: the calls that the model has made; they are not part of `text`. */
  toolCalls?: readonly ParsedToolCall[];
  /** With `thinking`: what stood between its marks; `text` is the answer alone. */
  thinking?: string;
  stopReason: StopReason;
  /** With "stop": the stop text that was found; absent when a token of `stopTokens` ended it. */
  stopText?: string;
  /** Begins with the beginning-of-text token when the model wants it. */
  promptIds: readonly number[];
  /** The generated tokens, without the one that ended the generation. */
  ids: readonly number[];
  seed: number;
  promptTokens: number;
  /** Prompt tokens whose rows were taken from the cache instead of being computed. */
  cachedTokens: number;
  timings: GenerationTimings;
  /** With `promptLogprobs`: one per prompt token given those before it; null for the first. */
  promptLogprobs?: readonly (TokenLogprob | null)[];
  /** With `logprobs`: one per token of `ids`. */
  logprobs?: readonly TokenLogprob[];
}

/**
 * A running generation. It can be read once, by `for await` or through `textStream` (leaving either cancels it); `result` and
 * `text` can be awaited at any time, by anybody. Once reading has begun, a reader who stops without leaving pauses the generation,
 * its result included; when no reading has begun, nothing waits for it.
 *
 * A signal that fires, a reader who leaves and `dispose` abort a generation: its pieces end and `result` says `stopReason: "abort"`,
 * with what there was until then. `text` and `textStream` promise the whole text, so that they fail: with a BitNetError of code
 * ABORTED, whose `name` is "AbortError" and whose `cause` is the signal's reason.
 */
export interface Generation extends AsyncIterable<TokenPiece> {
  /** Rejects with the BitNetError of a generation that failed; one that was aborted resolves. */
  readonly result: Promise<GenerationResult>;
  /** The whole text. */
  readonly text: Promise<string>;
  /**
   * The text of the answer as it comes.
   * @example new Response(generation.textStream.pipeThrough(new TextEncoderStream()))
   * @throws BitNetError INVALID_ARGUMENT when the generation is being read already.
   */
  readonly textStream: ReadableStream<string>;
  /** @throws BitNetError INVALID_ARGUMENT when the generation has been read, or is being read. */
  [Symbol.asyncIterator](): PieceIterator<TokenPiece>;
}

/** Where a generation comes from. */
export interface GenerationSource {
  readonly result: Promise<GenerationResult>;
  /** Called once. */
  read(): AsyncIterator<TokenPiece, undefined>;
}

export class SingleGeneration implements Generation {
  readonly result: Promise<GenerationResult>;
  readonly #source: GenerationSource;
  readonly #signal: AbortSignal | undefined;
  #stream: ReadableStream<string> | null = null;
  #isRead = false;

  constructor(source: GenerationSource, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#signal = signal;
    this.result = source.result;
    this.result.catch(() => {}); // whoever awaits it, or reads, sees the error
  }

  get text(): Promise<string> {
    return this.result.then((result) => this.#whole(result).text);
  }

  get textStream(): ReadableStream<string> {
    this.#stream ??= this.#openStream();
    return this.#stream;
  }

  [Symbol.asyncIterator](): PieceIterator<TokenPiece> {
    const source = this.#read();
    const iterator: PieceIterator<TokenPiece> = {
      next: () => source.next(),
      return: async () => (await source.return?.()) ?? { done: true, value: undefined },
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  #openStream(): ReadableStream<string> {
    const pieces = this.#read();
    return new ReadableStream<string>(
      {
        pull: async (controller) => {
          for (;;) {
            const { done, value } = await pieces.next();
            if (done === true) {
              this.#whole(await this.result);
              return controller.close();
            }
            if (value.text !== "" && value.channel !== "thinking") return controller.enqueue(value.text);
          }
        },
        cancel: async () => {
          await pieces.return?.();
        },
      },
      { highWaterMark: 0 }, // nothing is read before somebody reads
    );
  }

  #read(): AsyncIterator<TokenPiece, undefined> {
    if (this.#isRead) {
      throw new BitNetError(
        "INVALID_ARGUMENT",
        "generation: it can be read once, and has been; await its text or its result for the whole",
      );
    }
    this.#isRead = true;
    return this.#source.read();
  }

  #whole(result: GenerationResult): GenerationResult {
    if (result.stopReason !== "abort") return result;
    const cause: unknown = this.#signal?.aborted ? this.#signal.reason : undefined;
    throw new BitNetError("ABORTED", "generation: it was aborted before its end", { cause });
  }
}

/** The scheduler's generation with the texts of tokens in log-probabilities, and ids as arrays. */
export function describedSource(
  raw: RawGeneration,
  promptIds: Int32Array,
  textOf: (id: number) => string,
): GenerationSource {
  return {
    result: raw.result.then((result) => describeResult(result, promptIds, textOf)),
    read() {
      const pieces = raw[Symbol.asyncIterator]();
      return {
        async next() {
          const { done, value } = await pieces.next();
          return done === true
            ? { done, value: undefined }
            : { done: false, value: describePiece(value, textOf) };
        },
        async return() {
          await pieces.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

type TextOf = (id: number) => string;

function describeResult(raw: RawResult, promptIds: Int32Array, textOf: TextOf): GenerationResult {
  const { text, stopReason, ids, logprobs, promptLogprobs, ...rest } = raw;
  return {
    text,
    stopReason,
    promptIds: Array.from(promptIds),
    ids: Array.from(ids),
    ...rest,
    ...(promptLogprobs && {
      promptLogprobs: promptLogprobs.map((entry) => entry && describeLogprob(entry, textOf)),
    }),
    ...(logprobs && { logprobs: logprobs.map((entry) => describeLogprob(entry, textOf)) }),
  };
}

function describePiece({ top, ...piece }: RawPiece, textOf: TextOf): TokenPiece {
  return top === undefined ? piece : { ...piece, top: describeTop(top, textOf) };
}

function describeLogprob({ id, logprob, top }: RawLogprob, textOf: TextOf): TokenLogprob {
  return { id, text: textOf(id), logprob, top: describeTop(top, textOf) };
}

function describeTop(top: readonly RawTop[], textOf: TextOf): TopLogprob[] {
  return top.map(([id, logprob]) => ({ id, text: textOf(id), logprob }));
}

/** The result of a generation that was aborted before it began. */
export function neverBegun(seed: number): GenerationResult {
  const timings = {
    queuedMs: 0,
    promptMs: 0,
    firstTokenMs: 0,
    decodeMs: 0,
    promptTokensPerSecond: 0,
    decodeTokensPerSecond: 0,
  };
  return {
    text: "",
    stopReason: "abort",
    promptIds: [],
    ids: [],
    seed,
    promptTokens: 0,
    cachedTokens: 0,
    timings,
  };
}
