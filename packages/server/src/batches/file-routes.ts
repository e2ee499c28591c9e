/** OpenAI's files: upload, list, look at, read, delete. */
import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { invalid, ServeError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { batchingOf } from "./batching.ts";
import { type FileRecord, showFile } from "./file-store.ts";
import { sendList } from "./lists.ts";
import { receiveUpload } from "./upload.ts";

/** Bodies of other requests have to be here after this time. */
const bodyMs = 30_000;
const isUpload = ({ method, url }: FastifyRequest) =>
  method === "POST" && /^\/(v1\/)?files\/?(\?|$)/.test(url);

/** Lets the route of uploads read its body itself, as long as that takes. All other bodies keep their time. */
export function acceptUploads(app: FastifyInstance): void {
  app.addContentTypeParser("multipart/form-data", (_request, payload, done) => done(null, payload));
  app.addHook("onRequest", async (request) => {
    if (isUpload(request) || request.method !== "POST") return;
    const { raw } = request;
    const timer = setTimeout(() => raw.destroy(), bodyMs);
    const stop = () => clearTimeout(timer);
    raw.once("end", stop);
    raw.once("close", stop);
  });
}

export async function createFile(exchange: Exchange): Promise<void> {
  const { serving, client, request, signal } = exchange;
  const { files } = batchingOf(serving);
  const { maxFileBytes, maxStoredBytes } = serving.settings.batches;
  exchange.onEnd(await client.account.openShared());
  const contentType = request.headers["content-type"];
  const body = request.body as IncomingMessage | undefined;
  if (contentType === undefined || !contentType.startsWith("multipart/form-data") || body === undefined)
    throw new ServeError("INVALID_INPUT", "a file is sent as multipart/form-data");
  const left = maxStoredBytes - files.storedBytes;
  if (left <= 0) throw storageFull();
  const id = files.newId();
  const upload = await receiveUpload(body, {
    headers: { ...request.headers, "content-type": contentType },
    path: files.spoolPath(id),
    maxBytes: Math.min(maxFileBytes, left),
    signal,
  }).catch((error: unknown) => {
    // What is left of the body is not read; the connection cannot be used again.
    exchange.reply.header("connection", "close");
    if (error instanceof ServeError && error.code === "TOO_LARGE" && left < maxFileBytes) throw storageFull();
    throw error;
  });
  const record = await describeUpload().catch(async (error: unknown) => {
    await files.discard(id);
    throw error;
  });
  await files.adopt(record);
  exchange.sendJson(showFile(record));

  async function describeUpload(): Promise<FileRecord> {
    const { fields } = upload;
    if (fields.purpose !== "batch")
      throw invalid("purpose", '"batch"; files for other purposes are of no use here');
    const created_at = Math.floor(Date.now() / 1000);
    const expiresAfter = readExpiry(fields);
    return {
      id,
      tenant: client.tenant,
      bytes: upload.bytes,
      filename: upload.filename,
      purpose: "batch",
      created_at,
      expires_at: expiresAfter === null ? null : created_at + expiresAfter,
    };
  }
}

function storageFull(): ServeError {
  return new ServeError("TOO_LARGE", "this server's storage is full; delete files that are no longer needed");
}

function readExpiry(fields: Readonly<Record<string, string>>): number | null {
  const anchor = fields["expires_after[anchor]"];
  const seconds = fields["expires_after[seconds]"];
  if (anchor === undefined && seconds === undefined) return null;
  if (anchor !== "created_at") throw invalid("expires_after.anchor", '"created_at"');
  return checkExpirySeconds(Number(seconds));
}

/** OpenAI's bounds: an hour to thirty days. */
export function checkExpirySeconds(seconds: number): number {
  if (Number.isInteger(seconds) && seconds >= 3600 && seconds <= 2_592_000) return seconds;
  throw invalid("expires_after.seconds", "a whole number from 3600 to 2592000");
}

export async function listFiles(exchange: Exchange): Promise<void> {
  const { files } = batchingOf(exchange.serving);
  const { tenant } = exchange.client;
  const { purpose } = exchange.request.query as { purpose?: string };
  await sendList<FileRecord>(exchange, {
    ids: await files.ids(tenant),
    find: (id) => files.find(tenant, id),
    accepts: (record) => purpose === undefined || record.purpose === purpose,
    show: showFile,
  });
}

export async function getFile(exchange: Exchange): Promise<void> {
  exchange.sendJson(showFile(await findFile(exchange)));
}

export async function readFileContent(exchange: Exchange): Promise<void> {
  const record = await findFile(exchange);
  const content = await batchingOf(exchange.serving).files.read(record);
  if (content === null) throw noFile(record.id);
  await exchange.reply
    .header("content-type", "application/octet-stream")
    .header("content-length", record.bytes)
    .send(content);
}

export async function deleteFile(exchange: Exchange): Promise<void> {
  const record = await findFile(exchange);
  if (!(await batchingOf(exchange.serving).files.remove(record))) throw noFile(record.id);
  exchange.sendJson({ id: record.id, object: "file", deleted: true });
}

async function findFile(exchange: Exchange): Promise<FileRecord> {
  const { id = "" } = exchange.request.params as { id?: string };
  const found = await batchingOf(exchange.serving).files.find(exchange.client.tenant, id);
  if (found !== null) return found;
  throw noFile(id);
}

function noFile(id: string): ServeError {
  return new ServeError("NOT_FOUND", `there is no file ${JSON.stringify(id.slice(0, 80))}`, { param: "id" });
}
