/**
 * A request and its answers as spans of OpenTelemetry, in the JSON of its protocol (OTLP 1.x: ids in hexadecimal, times in nanoseconds as
 * texts), under the conventions for HTTP servers and for generative AI. No text of a prompt or an answer is in them.
 */
import { randomBytes } from "node:crypto";
import type { EndedAnswer, EndedRequest } from "./activity.ts";

type Value =
  | { stringValue: string }
  | { intValue: string }
  | { doubleValue: number }
  | { arrayValue: { values: Value[] } };

export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Value }[];
  readonly events?: readonly { readonly name: string; readonly timeUnixNano: string }[];
  readonly status: { readonly code?: number };
}

const kinds = { internal: 1, server: 2 } as const;
const failed = 2;

/** W3C's trace context: whose request this is a part of. */
interface Context {
  readonly traceId: string;
  readonly parentSpanId?: string;
  /** The caller wants it recorded; without a caller, it is. */
  readonly isSampled: boolean;
}

function contextOf(traceparent: string | undefined): Context {
  const found = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? "");
  const [, traceId = "", parentSpanId = "", flags = ""] = found ?? [];
  if (/^0*$/.test(traceId) || /^0*$/.test(parentSpanId))
    return { traceId: randomBytes(16).toString("hex"), isSampled: true };
  return { traceId, parentSpanId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** Empty when the caller does not want it recorded. */
export function spansOf(request: EndedRequest): Span[] {
  const { traceId, parentSpanId, isSampled } = contextOf(request.traceparent);
  if (!isSampled) return [];
  const spanId = randomBytes(8).toString("hex");
  const root: Span = {
    traceId,
    spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    name: `${request.method} ${request.route}`,
    kind: kinds.server,
    startTimeUnixNano: nanoseconds(request.endedAt - request.ms),
    endTimeUnixNano: nanoseconds(request.endedAt),
    attributes: attributesOf({
      "http.request.method": request.method,
      "http.route": request.route,
      "http.response.status_code": request.status,
      "bitnet.request_id": request.id,
      ...(request.errorCode === null ? {} : { "error.type": request.errorCode }),
    }),
    status: request.status >= 500 ? { code: failed } : {},
  };
  const operation = /chat|messages|responses/.test(request.route) ? "chat" : "text_completion";
  return [
    root,
    ...request.answers.map((answer) => answerSpan(answer, { traceId, parentSpanId: spanId, operation })),
  ];
}

function answerSpan(
  { model, result, queuedMs, endedAt }: EndedAnswer,
  parent: { traceId: string; parentSpanId: string; operation: string },
): Span {
  const { timings } = result;
  const start = endedAt - timings.queuedMs - timings.promptMs - timings.decodeMs;
  return {
    traceId: parent.traceId,
    spanId: randomBytes(8).toString("hex"),
    parentSpanId: parent.parentSpanId,
    name: `${parent.operation} ${model}`,
    kind: kinds.internal,
    startTimeUnixNano: nanoseconds(start),
    endTimeUnixNano: nanoseconds(endedAt),
    attributes: attributesOf({
      "gen_ai.operation.name": parent.operation,
      "gen_ai.provider.name": "bitnet.ts",
      "gen_ai.request.model": model,
      "gen_ai.response.model": model,
      "gen_ai.response.finish_reasons": [result.stopReason],
      "gen_ai.usage.input_tokens": result.promptTokens,
      "gen_ai.usage.output_tokens": result.ids.length,
      "bitnet.cached_tokens": result.cachedTokens,
      "bitnet.queue_seconds": (queuedMs + timings.queuedMs) / 1000,
    }),
    ...(result.ids.length === 0
      ? {}
      : { events: [{ name: "first_token", timeUnixNano: nanoseconds(start + timings.firstTokenMs) }] }),
    status: {},
  };
}

/** @param ms Since 1970. A double holds nanoseconds no longer. */
function nanoseconds(ms: number): string {
  return `${BigInt(Math.round(ms * 1000)) * 1000n}`;
}

function attributesOf(
  values: Readonly<Record<string, string | number | readonly string[]>>,
): Span["attributes"] {
  return Object.entries(values).map(([key, value]) => ({ key, value: attributeValue(value) }));
}

function attributeValue(value: string | number | readonly string[]): Value {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value !== "number")
    return { arrayValue: { values: value.map((each) => ({ stringValue: each })) } };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}
