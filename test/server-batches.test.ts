/** Files and batches over HTTP, asked for by the published `openai` client. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI, { toFile } from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bitnet } from "./cli-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";
import { checkWire } from "./server-wire.ts";

let folder: string;
let server: ServerProcess;
let client: OpenAI;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-batches-"));
  server = await startServerProcess(["--data", folder, "--max-file", "20000"]);
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
});
afterAll(async () => {
  await server?.end();
  await rm(folder, { recursive: true, force: true });
});

interface Line {
  id: string;
  custom_id: string;
  response: { status_code: number; request_id: string; body: Record<string, unknown> } | null;
  error: { code: string } | null;
}

const chatLine = (custom_id: string, body: object = {}) => ({
  custom_id,
  method: "POST",
  url: "/v1/chat/completions",
  body: { messages: [{ role: "user", content: "Hello" }], max_tokens: 5, seed: 1, ...body },
});
const jsonl = (lines: readonly unknown[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join("");
const upload = async (text: string) =>
  client.files.create({ file: await toFile(Buffer.from(text), "in.jsonl"), purpose: "batch" });
const createBatch = async (text: string) =>
  client.batches.create({
    input_file_id: (await upload(text)).id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
const ended = ["completed", "failed", "expired", "cancelled"];
async function untilEnded(id: string) {
  for (;;) {
    const batch = await client.batches.retrieve(id);
    checkWire("openai", "Batch", batch);
    if (ended.includes(batch.status)) return batch;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
async function linesOf(id: string | null | undefined): Promise<Line[]> {
  if (!id) return [];
  const text = await (await client.files.content(id)).text();
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);
}

test("a file: uploaded, listed, read, deleted", async () => {
  const file = await upload("hello\n");
  checkWire("openai", "OpenAIFile", file);
  expect(file).toMatchObject({ bytes: 6, filename: "in.jsonl", purpose: "batch", status: "processed" });
  expect(await (await client.files.content(file.id)).text()).toBe("hello\n");
  const other = await upload("more\n");
  const ids: string[] = [];
  for await (const each of client.files.list({ limit: 1 })) ids.push(each.id);
  expect(ids).toEqual([other.id, file.id]);
  checkWire("openai", "DeleteFileResponse", await client.files.delete(file.id));
  await expect(client.files.retrieve(file.id)).rejects.toMatchObject({ status: 404 });
  await client.files.delete(other.id);
  expect(await client.files.list()).toMatchObject({ data: [] });
});

test("bad uploads are refused and leave nothing behind", async () => {
  const cases: [status: number, form: FormData | string][] = [];
  const form = (fields: Record<string, string | Blob>) => {
    const made = new FormData();
    for (const [name, value] of Object.entries(fields)) made.append(name, value);
    return made;
  };
  const file = new File(["x"], "x.jsonl");
  cases.push([400, form({ purpose: "batch" })]);
  cases.push([400, form({ file })]);
  cases.push([400, form({ file, purpose: "assistants" })]);
  cases.push([400, form({ other: file, purpose: "batch" })]);
  cases.push([
    400,
    form({ file, purpose: "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "1" }),
  ]);
  cases.push([413, form({ file: new File([new Uint8Array(20_001)], "big"), purpose: "batch" })]);
  cases.push([400, "no form at all"]);
  for (const [status, body] of cases) {
    const response = await fetch(`${server.url}/v1/files`, { method: "POST", body });
    expect([status, await response.text()]).toEqual([response.status, expect.stringContaining('"error"')]);
  }
  const cut = await fetch(`${server.url}/v1/files`, {
    method: "POST",
    headers: { "content-type": "multipart/form-data; boundary=x" },
    body: '--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
  });
  expect(cut.status).toBe(400);
  expect(await readdir(join(folder, "spool"))).toEqual([]);
  expect(await client.files.list()).toMatchObject({ data: [] });
});

test("a batch: good lines, bad lines, counts, usage, files", async () => {
  const batch = await createBatch(
    jsonl([chatLine("a"), chatLine("b", { temperature: -1 }), chatLine("c", { seed: 2 }), chatLine("a2")]),
  );
  checkWire("openai", "Batch", batch);
  expect(batch.status).toBe("validating");
  const done = await untilEnded(batch.id);
  expect(done).toMatchObject({
    status: "completed",
    request_counts: { total: 4, completed: 3, failed: 1 },
    usage: { output_tokens: 15 },
  });
  const output = await linesOf(done.output_file_id);
  expect(output.map((line) => line.custom_id).sort()).toEqual(["a", "a2", "c"]);
  for (const { response } of output) {
    expect(response?.status_code).toBe(200);
    checkWire("openai", "CreateChatCompletionResponse", response?.body);
  }
  // The same request outside of a batch gets the same text.
  const direct = await client.chat.completions.create(chatLine("").body as never);
  const choice = (line: Line | undefined) =>
    (line?.response?.body as typeof direct | undefined)?.choices[0]?.message.content;
  expect(choice(output.find((line) => line.custom_id === "a"))).toBe(direct.choices[0]?.message.content);
  const [failed] = await linesOf(done.error_file_id);
  expect(failed).toMatchObject({
    custom_id: "b",
    response: { status_code: 400, body: { error: { param: "temperature" } } },
  });
  checkWire("openai", "ListBatchesResponse", await (await server.get("/v1/batches")).json());
});

test("a batch whose file is wrong fails and says where", async () => {
  const text = `${jsonl([chatLine("a"), chatLine("a"), { ...chatLine("c"), url: "/v1/completions" }])}{"broken\n${jsonl([{ ...chatLine("d"), method: "GET" }, { ...chatLine(""), body: 5 }, chatLine("e", { stream: true })])}`;
  const batch = await untilEnded((await createBatch(text)).id);
  expect(batch.status).toBe("failed");
  expect(batch.errors?.data?.map(({ code, line }) => [code, line])).toEqual([
    ["duplicate_custom_id", 2],
    ["invalid_url", 3],
    ["invalid_json_line", 4],
    ["invalid_method", 5],
    ["invalid_custom_id", 6],
    ["invalid_body", 7],
  ]);
  const empty = await untilEnded((await createBatch("\n\n")).id);
  expect(empty.errors?.data?.[0]?.code).toBe("empty_file");
});

test("a cancelled batch ends soon, and its open lines say so", async () => {
  const lines = Array.from({ length: 40 }, (_, i) =>
    chatLine(`line ${i}`, { max_tokens: 400, ignore_eos: true }),
  );
  const { id } = await createBatch(jsonl(lines));
  const cancelling = await client.batches.cancel(id);
  expect(["cancelling", "cancelled"]).toContain(cancelling.status);
  const batch = await untilEnded(id);
  expect(batch.status).toBe("cancelled");
  const [output, errors] = [await linesOf(batch.output_file_id), await linesOf(batch.error_file_id)];
  expect(errors.length).toBeGreaterThan(0);
  expect(new Set(errors.map(({ error }) => error?.code))).toEqual(new Set(["batch_cancelled"]));
  expect([...output, ...errors].map((line) => line.custom_id).sort()).toEqual(
    lines.map((line) => line.custom_id).sort(),
  );
  await expect(client.batches.cancel(id)).rejects.toMatchObject({ status: 400 });
});

test("a repeated request under one Idempotency-Key makes one batch", async () => {
  const file = await upload(jsonl([chatLine("a")]));
  const body = { input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" };
  const create = (metadata?: object) =>
    server.post("/v1/batches", { ...body, ...(metadata ? { metadata } : {}) }, { "idempotency-key": "k1" });
  const answers = await Promise.all([create(), create(), create()]);
  const ids = await Promise.all(answers.map(async (each) => ((await each.json()) as { id: string }).id));
  expect(new Set(ids).size).toBe(1);
  expect((await create({ other: "request" })).status).toBe(400);
  await client.files.delete(file.id);
  expect((await untilEnded(ids[0] ?? "")).status).toBe("completed");
});

test("what a batch must be made of is said", async () => {
  const file = await upload("{}\n");
  const good = { input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" };
  const cases: [string, object][] = [
    ["endpoint", { ...good, endpoint: "/v1/images" }],
    ["completion_window", { ...good, completion_window: "1h" }],
    ["input_file_id", { ...good, input_file_id: "file-../../x" }],
    ["metadata", { ...good, metadata: { a: 5 } }],
  ];
  for (const [param, body] of cases) {
    const answer = await server.post("/v1/batches", body);
    expect([answer.status, ((await answer.json()) as { error: { param: string } }).error.param]).toEqual([
      400,
      param,
    ]);
  }
  for (const id of ["batch_..%2f..%2fx", "batch_1", "..%2f..%2fetc"])
    expect((await server.get(`/v1/batches/${id}`)).status).toBe(404);
});

test("files and batches of one tenant do not exist for another", async () => {
  const own = await mkdtemp(join(tmpdir(), "bitnet-tenants-"));
  const keys = join(own, "keys.json");
  const create = async (name: string) =>
    (await bitnet(["keys", "create", name, "--keys", keys])).stdout.trim();
  const [ada, bob] = [await create("Ada"), await create("Bob")];
  const shared = await startServerProcess(["--data", join(own, "data"), "--keys", keys]);
  try {
    const clientOf = (apiKey: string) => new OpenAI({ baseURL: `${shared.url}/v1`, apiKey, maxRetries: 0 });
    const [a, b] = [clientOf(ada), clientOf(bob)];
    const file = await a.files.create({
      file: await toFile(Buffer.from(jsonl([chatLine("a")])), "in.jsonl"),
      purpose: "batch",
    });
    const wanted = {
      input_file_id: file.id,
      endpoint: "/v1/chat/completions",
      completion_window: "24h",
    } as const;
    const batch = await a.batches.create(wanted);
    const notFound = { status: 404 };
    await expect(b.files.retrieve(file.id)).rejects.toMatchObject(notFound);
    await expect(b.files.content(file.id)).rejects.toMatchObject(notFound);
    await expect(b.files.delete(file.id)).rejects.toMatchObject(notFound);
    await expect(b.batches.retrieve(batch.id)).rejects.toMatchObject(notFound);
    await expect(b.batches.cancel(batch.id)).rejects.toMatchObject(notFound);
    await expect(b.batches.create(wanted)).rejects.toMatchObject({ status: 400, param: "input_file_id" });
    expect([(await b.files.list()).data, (await b.batches.list()).data]).toEqual([[], []]);
    expect((await a.batches.list()).data.map(({ id }) => id)).toEqual([batch.id]);
    // Whoever is not known gets nothing, not even a number guessed for the server's own requests.
    const headers = { "x-bitnet-inner": "00000000-0000-4000-8000-000000000000" };
    expect((await shared.get("/v1/files", headers)).status).toBe(401);
  } finally {
    await shared.end();
    await rm(own, { recursive: true, force: true });
  }
});

test("room is limited for all files together, and comes back", async () => {
  const own = await mkdtemp(join(tmpdir(), "bitnet-room-"));
  const small = await startServerProcess(["--data", own, "--max-stored", "100"]);
  try {
    const send = (bytes: number) => {
      const form = new FormData();
      form.append("file", new File([new Uint8Array(bytes)], "x"));
      form.append("purpose", "batch");
      return fetch(`${small.url}/v1/files`, { method: "POST", body: form });
    };
    const first = (await (await send(60)).json()) as { id: string };
    expect((await send(60)).status).toBe(413);
    expect((await send(30)).status).toBe(200);
    await fetch(`${small.url}/v1/files/${first.id}`, { method: "DELETE" });
    expect((await send(60)).status).toBe(200);
  } finally {
    await small.end();
    await rm(own, { recursive: true, force: true });
  }
  expect((await fetch(`${server.url}/v1/files`, { method: "POST", body: "x" })).status).toBe(400);
});
