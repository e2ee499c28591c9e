/**
 * The one error class of bitnet.ts. A message says where, what was expected, what was found and what to do;
 * `code` is stable and meant for programs, `details` is plain data.
 */

export type BitNetErrorCode =
  | "INVALID_ARGUMENT" // an option or argument of the caller is out of range
  | "FILE_NOT_FOUND"
  | "ACCESS_DENIED" // a server wants to know who asks, or does not let them
  | "IO_FAILED" // reading or writing failed below us
  | "FORMAT_INVALID" // the bytes of a model file contradict their format
  | "FORMAT_TRUNCATED" // the file ends before its contents do
  | "FORMAT_UNSUPPORTED" // a valid file of a kind that is not read here
  | "MODEL_UNSUPPORTED" // unknown architecture
  | "MODEL_INVALID" // missing tensors, shapes that contradict the configuration
  | "TOKENIZER_INVALID"
  | "TEMPLATE_FAILED" // a chat template ended in an error or ran out of its budget
  | "CONTEXT_EXCEEDED" // a prompt or request does not fit the context
  | "ANSWER_INCOMPLETE" // an answer of a form, such as JSON, was cut off before it was complete
  | "OUT_OF_MEMORY"
  | "BACKEND_UNAVAILABLE" // a forced backend or ISA does not exist or cannot run here
  | "BACKEND_FAILED" // a kernel reported a failure during a step
  | "NUMERIC_FAILURE" // NaN or infinity reached a quantiser
  | "DISPOSED" // a disposed model was used
  | "ABORTED"
  | "INTERNAL"; // a defect of bitnet.ts

export interface BitNetErrorOptions {
  cause?: unknown;
  details?: Readonly<Record<string, unknown>>;
}

/** `name` is "BitNetError", for the code ABORTED "AbortError", as the web platform names what a signal has ended. */
export class BitNetError extends Error {
  readonly code: BitNetErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: BitNetErrorCode, message: string, options: BitNetErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = code === "ABORTED" ? "AbortError" : "BitNetError";
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** Throws `ABORTED`, its cause the signal's reason, when `signal` has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new BitNetError("ABORTED", "the operation was aborted", { cause: signal.reason });
  }
}

/** Marks code that no input can reach. */
export function unreachable(value: never, where: string): never {
  throw new BitNetError("INTERNAL", `${where}: unexpected ${JSON.stringify(value)}`);
}
