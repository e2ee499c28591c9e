/** OpenAI's batches: create, list, look at, cancel. */
import { invalid, ServeError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { Fields } from "../fields.ts";
import { type BatchRecord, batchEndpoints, isEnded, showBatch } from "./batch-record.ts";
import { batchingOf } from "./batching.ts";
import { checkExpirySeconds } from "./file-routes.ts";

import { sendList } from "./lists.ts";

const windowSeconds = 24 * 3600;

export async function createBatch(exchange: Exchange): Promise<void> {
  const { serving, client, body } = exchange;
  const { files, batches, runner } = batchingOf(serving);
  const { settings } = serving;
  exchange.onEnd(await client.account.openShared());
  const endpoint = body.choice("endpoint", batchEndpoints);
  if (endpoint === undefined) throw invalid("endpoint", `one of ${batchEndpoints.join(", ")}; it is missing`);
  const window = body.requiredString("completion_window");
  if (window !== "24h") throw invalid("completion_window", '"24h"');
  const inputId = body.requiredString("input_file_id");
  const metadata = readMetadata(body);
  const expiry = body.object("output_expires_after");
  const output_expires_after =
    expiry === undefined ? null : checkExpirySeconds(expiry.integer("seconds") ?? Number.NaN);
  const input = await files.find(client.tenant, inputId);
  if (input === null || input.purpose !== "batch") throw noInput();
  if (input.bytes > settings.batches.maxInputBytes)
    throw invalid("input_file_id", `a file of at most ${settings.batches.maxInputBytes} bytes`);
  const now = Math.floor(Date.now() / 1000);
  const record: BatchRecord = {
    id: await idFor(exchange, batches.newId()),
    tenant: client.tenant,
    endpoint,
    input_file_id: inputId,
    completion_window: window,
    metadata,
    created_at: now,
    expires_at: now + windowSeconds,
    output_file_id: files.newId(),
    error_file_id: files.newId(),
    output_expires_after,
    status: "validating",
    errors: [],
    tokens: 0,
    counts: { total: 0, completed: 0, failed: 0 },
    usage: { input_tokens: 0, output_tokens: 0, cached_tokens: 0 },
    files: { output: false, error: false },
  };
  const earlier = await batches.find(client.tenant, record.id);
  if (earlier !== null) return exchange.sendJson(await shown(exchange, earlier));
  const open = (await batches.active()).filter(({ tenant }) => tenant === client.tenant);
  if (open.length >= settings.batches.maxOpen)
    throw new ServeError(
      "RATE_LIMIT_EXCEEDED",
      `at most ${settings.batches.maxOpen} batches at once are allowed`,
      {
        retryAfterMs: 60_000,
      },
    );
  const made = await batches
    .create(record, files.contentPath(client.tenant, inputId))
    .catch((error: unknown) => {
      // Deleted a moment ago.
      throw (error as NodeJS.ErrnoException).code === "ENOENT" ? noInput() : error;
    });
  exchange.sendJson(await shown(exchange, made));
  if (serving.state === "ready") void runner.tick();
}

function noInput(): ServeError {
  return invalid("input_file_id", 'the id of a file that was uploaded with the purpose "batch"');
}

/** A request that is sent again under the same Idempotency-Key gets the batch of the first one. */
async function idFor(exchange: Exchange, id: string): Promise<string> {
  const key = exchange.request.headers["idempotency-key"];
  if (typeof key !== "string" || key === "") return id;
  if (key.length > 255) throw invalid("Idempotency-Key", "at most 255 characters");
  const request = Buffer.from(exchange.bodyBytes).toString("utf8");
  const claim = await batchingOf(exchange.serving).batches.claim(exchange.client.tenant, key, {
    id,
    request,
  });
  if (claim.isSame) return claim.id;
  throw new ServeError("INVALID_INPUT", "this Idempotency-Key was used for another request", {
    param: "Idempotency-Key",
  });
}

function readMetadata(body: Fields): Record<string, string> | null {
  const value = body.raw("metadata");
  if (value === undefined) return null;
  new Fields(value, "metadata");
  const entries = Object.entries(value as Record<string, unknown>);
  const isGood = ([key, each]: [string, unknown]) =>
    key.length <= 64 && typeof each === "string" && each.length <= 512;
  if (entries.length > 16 || !entries.every(isGood))
    throw invalid("metadata", "at most 16 texts of at most 512 characters, under keys of at most 64");
  return Object.fromEntries(entries) as Record<string, string>;
}

export async function listBatches(exchange: Exchange): Promise<void> {
  const { batches } = batchingOf(exchange.serving);
  const { tenant } = exchange.client;
  await sendList<BatchRecord>(exchange, {
    ids: await batches.ids(tenant),
    find: (id) => batches.find(tenant, id),
    show: (record) => shown(exchange, record),
  });
}

export async function getBatch(exchange: Exchange): Promise<void> {
  exchange.sendJson(await shown(exchange, await findBatch(exchange)));
}

export async function cancelBatch(exchange: Exchange): Promise<void> {
  const { batches, runner } = batchingOf(exchange.serving);
  const record = checkOpen(await findBatch(exchange));
  exchange.sendJson(showBatch(checkOpen(await batches.requestCancel(record)), true));
  void runner.tick();
}

function checkOpen(record: BatchRecord): BatchRecord {
  if (!isEnded(record)) return record;
  throw new ServeError("INVALID_INPUT", `the batch has ended before: it is ${record.status}`, {
    param: "id",
  });
}

async function shown(exchange: Exchange, record: BatchRecord): Promise<object> {
  return showBatch(record, await batchingOf(exchange.serving).batches.isCancelRequested(record));
}

async function findBatch(exchange: Exchange): Promise<BatchRecord> {
  const { id = "" } = exchange.request.params as { id?: string };
  const found = await batchingOf(exchange.serving).batches.find(exchange.client.tenant, id);
  if (found !== null) return found;
  throw new ServeError("NOT_FOUND", `there is no batch ${JSON.stringify(id.slice(0, 80))}`, { param: "id" });
}
