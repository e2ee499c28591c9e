/**
 * What goes wrong with a request, once, and how each dialect says it. Messages of our own are meant for clients; anything else that is
 * thrown becomes "internal error" outside and its text stays in the log.
 */
import { BitNetError, type BitNetErrorCode } from "@bitnet.ts/core";

export type Dialect = "openai" | "anthropic" | "ollama";

/** Stable names, sent as `code` and in the header `x-bitnet-code`. */
export type ServeCode =
  | "INVALID_INPUT"
  | "CONTEXT_EXCEEDED"
  | "UNAUTHENTICATED"
  | "FORBIDDEN"
  | "NOT_FOUND"
  | "MODEL_NOT_FOUND"
  | "TOO_LARGE"
  | "RATE_LIMIT_EXCEEDED"
  | "CONTENT_FILTERED"
  | "RESPONSE_FILTERED"
  | "HUB_FAILED"
  | "TIMEOUT"
  | "NOT_SUPPORTED"
  | "QUEUE_FULL"
  | "LOADING"
  | "DRAINING"
  | "OUT_OF_MEMORY"
  | "ABORTED"
  | "GENERATION_ERROR";

const statusOf: Readonly<Record<ServeCode, number>> = {
  INVALID_INPUT: 400,
  CONTEXT_EXCEEDED: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  MODEL_NOT_FOUND: 404,
  TOO_LARGE: 413,
  RATE_LIMIT_EXCEEDED: 429,
  CONTENT_FILTERED: 400,
  RESPONSE_FILTERED: 422,
  HUB_FAILED: 502,
  TIMEOUT: 504,
  NOT_SUPPORTED: 501,
  QUEUE_FULL: 503,
  LOADING: 503,
  DRAINING: 503,
  OUT_OF_MEMORY: 503,
  ABORTED: 499,
  GENERATION_ERROR: 500,
};

interface ServeErrorOptions {
  /** The field at fault, as a path into the body. */
  param?: string;
  /** When to try again; at least a second. */
  retryAfterMs?: number;
  cause?: unknown;
}

export class ServeError extends Error {
  readonly code: ServeCode;
  readonly status: number;
  readonly param: string | null;
  readonly retryAfterMs: number | null;

  constructor(code: ServeCode, message: string, options: ServeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ServeError";
    this.code = code;
    this.status = statusOf[code];
    this.param = options.param ?? null;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

/** A field that is not what it must be. */
export function invalid(param: string, expected: string): ServeError {
  return new ServeError("INVALID_INPUT", `${param}: expected ${expected}`, { param });
}

const codeOf: Partial<Record<BitNetErrorCode, ServeCode>> = {
  INVALID_ARGUMENT: "INVALID_INPUT",
  TEMPLATE_FAILED: "INVALID_INPUT",
  CONTEXT_EXCEEDED: "CONTEXT_EXCEEDED",
  MODEL_UNSUPPORTED: "NOT_SUPPORTED",
  OUT_OF_MEMORY: "OUT_OF_MEMORY",
  ABORTED: "ABORTED",
  DISPOSED: "DRAINING",
};

/** Whatever was thrown while a request was handled, as something that may be shown to its client. */
export function toServeError(error: unknown): ServeError {
  if (error instanceof ServeError) return error;
  if (error instanceof BitNetError) {
    const code = codeOf[error.code];
    if (code !== undefined) return new ServeError(code, error.message, { cause: error });
  }
  const { statusCode } = (error ?? {}) as { statusCode?: unknown };
  if (statusCode === 413) return new ServeError("TOO_LARGE", "the body is larger than this server accepts");
  if (statusCode === 400 || statusCode === 414)
    return new ServeError("INVALID_INPUT", "the request is malformed", { cause: error });
  return new ServeError("GENERATION_ERROR", "internal error", { cause: error });
}

const openaiTypes: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_exceeded",
  500: "server_error",
  501: "not_supported_error",
  502: "server_error",
  503: "unavailable_error",
  504: "timeout_error",
};
const openaiCodes: Partial<Record<ServeCode, string>> = {
  MODEL_NOT_FOUND: "model_not_found",
  CONTEXT_EXCEEDED: "context_length_exceeded",
  UNAUTHENTICATED: "invalid_api_key",
  RATE_LIMIT_EXCEEDED: "rate_limit_exceeded",
};
const anthropicTypes: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  500: "api_error",
  501: "api_error",
  503: "overloaded_error",
  504: "timeout_error",
};

/** The status in a dialect: Anthropic's clients know overload as 529. */
export function statusIn(dialect: Dialect, error: ServeError): number {
  return dialect === "anthropic" && error.status === 503 && error.code === "QUEUE_FULL" ? 529 : error.status;
}

/** The body of an error answer, which is also what a stream carries when it fails midway. */
export function errorBody(dialect: Dialect, error: ServeError, requestId: string): object {
  const { message, param, code } = error;
  if (dialect === "ollama") return { error: message };
  if (dialect === "anthropic")
    return {
      type: "error",
      error: { type: anthropicTypes[error.status] ?? "invalid_request_error", message },
      request_id: requestId,
    };
  return {
    error: {
      message,
      type: openaiTypes[error.status] ?? "invalid_request_error",
      param,
      code: openaiCodes[code] ?? code.toLowerCase(),
    },
  };
}

export function dialectOf(path: string): Dialect {
  if (/^\/(v1\/)?messages(\/|\?|$)/.test(path)) return "anthropic";
  return path.startsWith("/api/") ? "ollama" : "openai";
}
