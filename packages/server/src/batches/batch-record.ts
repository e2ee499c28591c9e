/** A batch: what is kept of it, and how OpenAI's API shows it. */
import { isObject } from "../fields.ts";
import { isRecordId } from "../store/records.ts";

export const batchEndpoints = [
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/embeddings",
  "/v1/responses",
] as const;
export type BatchEndpoint = (typeof batchEndpoints)[number];

const statuses = [
  "validating",
  "failed",
  "in_progress",
  "finalizing",
  "completed",
  "expired",
  "cancelling",
  "cancelled",
] as const;
type BatchStatus = (typeof statuses)[number];

const times = [
  "in_progress_at",
  "finalizing_at",
  "completed_at",
  "failed_at",
  "expired_at",
  "cancelling_at",
  "cancelled_at",
] as const;

export interface BatchProblem {
  readonly code: string;
  readonly message: string;
  readonly param: string | null;
  /** From 1; null for the file as a whole. */
  readonly line: number | null;
}

export interface BatchUsage {
  input_tokens: number;
  output_tokens: number;
  cached_tokens: number;
}

/** Times in seconds since 1970. Written by the server that holds the batch's lease only, except for the first time. */
export interface BatchRecord {
  readonly id: string;
  readonly tenant: string;
  readonly endpoint: BatchEndpoint;
  readonly input_file_id: string;
  readonly completion_window: string;
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly created_at: number;
  readonly expires_at: number;
  /** Names that the files will have, whether or not anything gets into them. */
  readonly output_file_id: string;
  readonly error_file_id: string;
  /** How long these are kept. */
  readonly output_expires_after: number | null;
  status: BatchStatus;
  errors: readonly BatchProblem[];
  in_progress_at?: number;
  finalizing_at?: number;
  completed_at?: number;
  failed_at?: number;
  expired_at?: number;
  cancelling_at?: number;
  cancelled_at?: number;
  /** What the lines may take in tokens, by their size and the answers they ask for. */
  tokens: number;
  counts: { total: number; completed: number; failed: number };
  usage: BatchUsage;
  /** Which of the files exist. */
  files: { output: boolean; error: boolean };
}

/** Whether that was read which a server has written; names of files become paths. */
export function isBatchRecord(value: unknown): value is BatchRecord {
  if (!isObject(value)) return false;
  const { metadata, errors, counts, usage, files } = value;
  const texts = [value.id, value.tenant, value.input_file_id, value.completion_window];
  const numbers = [value.created_at, value.expires_at, value.output_expires_after ?? 0, value.tokens];
  const told = times.map((name) => value[name]).filter((time) => time !== undefined);
  return (
    texts.every((text) => typeof text === "string") &&
    [...numbers, ...told].every(Number.isFinite) &&
    [value.output_file_id, value.error_file_id].every((id) => typeof id === "string" && isRecordId(id)) &&
    batchEndpoints.some((endpoint) => endpoint === value.endpoint) &&
    statuses.some((status) => status === value.status) &&
    (metadata === null || isObject(metadata)) &&
    Array.isArray(errors) &&
    errors.every(isObject) &&
    isObject(counts) &&
    [counts.total, counts.completed, counts.failed].every(Number.isSafeInteger) &&
    isObject(usage) &&
    [usage.input_tokens, usage.output_tokens, usage.cached_tokens].every(Number.isSafeInteger) &&
    isObject(files) &&
    [files.output, files.error].every((isThere) => typeof isThere === "boolean")
  );
}

export function isEnded({ status }: BatchRecord): boolean {
  return ["failed", "completed", "expired", "cancelled"].includes(status);
}

/** OpenAI's batch object; what is not there is left out, as its schema wants it. */
export function showBatch(record: BatchRecord, isCancelled: boolean): object {
  const { usage, files } = record;
  const status =
    isCancelled && (record.status === "in_progress" || record.status === "validating")
      ? "cancelling"
      : record.status;
  return {
    id: record.id,
    object: "batch",
    endpoint: record.endpoint,
    ...(record.errors.length === 0 ? {} : { errors: { object: "list", data: record.errors } }),
    input_file_id: record.input_file_id,
    completion_window: record.completion_window,
    status,
    ...(files.output ? { output_file_id: record.output_file_id } : {}),
    ...(files.error ? { error_file_id: record.error_file_id } : {}),
    created_at: record.created_at,
    expires_at: record.expires_at,
    ...Object.fromEntries(
      times.filter((name) => record[name] !== undefined).map((name) => [name, record[name]]),
    ),
    request_counts: record.counts,
    usage: {
      input_tokens: usage.input_tokens,
      input_tokens_details: { cached_tokens: usage.cached_tokens },
      output_tokens: usage.output_tokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: usage.input_tokens + usage.output_tokens,
    },
    metadata: record.metadata,
  };
}
