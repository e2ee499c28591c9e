/** The lines of output and error files, as OpenAI's API writes them. */
import { createHash } from "node:crypto";
import { isObject } from "../fields.ts";
import type { BatchUsage } from "./batch-record.ts";

export interface LineAnswer {
  readonly status: number;
  readonly requestId: string;
  readonly body: unknown;
}

export interface LineError {
  readonly code: "batch_expired" | "batch_cancelled" | "request_timeout";
  readonly message: string;
}

export const lineBeginning = '{"id":"batch_req_';

/** A line has the same id however often it had to be begun. */
function requestId(batchId: string, customId: string): string {
  return `batch_req_${createHash("sha256").update(`${batchId}\n${customId}`).digest("hex").slice(0, 24)}`;
}

export function answerLine(batchId: string, customId: string, answer: LineAnswer): string {
  return JSON.stringify({
    id: requestId(batchId, customId),
    custom_id: customId,
    response: { status_code: answer.status, request_id: answer.requestId, body: answer.body },
    error: null,
  });
}

export function errorLine(batchId: string, customId: string, error: LineError): string {
  return JSON.stringify({ id: requestId(batchId, customId), custom_id: customId, response: null, error });
}

export function customIdOf(line: string): string | null {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) && typeof value.custom_id === "string" ? value.custom_id : null;
  } catch {
    return null;
  }
}

/** Adds the usage that an answer reports, in whichever of OpenAI's spellings. */
export function addUsage(sum: BatchUsage, body: unknown): void {
  if (!isObject(body) || !isObject(body.usage)) return;
  const { usage } = body;
  const number = (value: unknown) => (Number.isSafeInteger(value) ? (value as number) : 0);
  const details = usage.prompt_tokens_details ?? usage.input_tokens_details;
  sum.input_tokens += number(usage.prompt_tokens ?? usage.input_tokens);
  sum.output_tokens += number(usage.completion_tokens ?? usage.output_tokens);
  sum.cached_tokens += number(isObject(details) ? details.cached_tokens : 0);
}

/** Of a line of the output file, read back. */
export function addUsageOfLine(sum: BatchUsage, line: string): void {
  const value: unknown = JSON.parse(line);
  if (isObject(value) && isObject(value.response)) addUsage(sum, value.response.body);
}
