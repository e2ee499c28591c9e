/**
 * Hostile requests against the real process: none may crash it, hang it, or make it answer with an internal error. BITNET_HOSTILE sets
 * how many; a seed and a number repeat each.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { embeddedModelPath } from "bitnet.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hostileForm } from "./hostile-forms.ts";
import { hostileHttp, httpKinds, sendRaw } from "./hostile-http.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";
import { trainAdapter } from "./trained-adapter.ts";

let server: ServerProcess;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-hostile-"));
  await trainAdapter(folder, { name: "adapter", seed: 1, text: "Hi" });
  server = await startServerProcess(
    [
      ...[
        "--model",
        `tiny=${embeddedModelPath()}`,
        "--lora",
        `adapter=${join(folder, "adapter", "adapter")}`,
      ],
      ...["--timeout", "20", "--alias", "*", "--data", join(folder, "data"), "--allow-pull", "nobody/*"],
    ],
    // Nothing that is asked for here may reach a hub.
    { HF_ENDPOINT: "http://127.0.0.1:9", HF_HUB_CACHE: join(folder, "hub") },
  );
}, 120_000);
afterAll(async () => {
  await server?.end();
  rmSync(folder, { recursive: true, force: true });
});

const nRequests = Number(process.env.BITNET_HOSTILE ?? 1500);
const paths = [
  ..."/v1/chat/completions /v1/completions /v1/responses /v1/messages /v1/messages/count_tokens /api/chat /api/generate".split(
    " ",
  ),
  ..."/api/show /completion /tokenize /detokenize /apply-template /v1/embeddings /v1/models/%00 /v1/responses/x".split(
    " ",
  ),
  ..."/chat/completions /completions /responses /embeddings /v1/tokenize /v1/detokenize /infill /v1/rerank".split(
    " ",
  ),
  ..."/api/pull /api/copy /api/create /api/push /api/embed /api/embeddings /v1/files /v1/batches /v1/batches/x/cancel".split(
    " ",
  ),
];
/** Without a body, and one that is answered with what a body of `DELETE` says. */
const otherRequests: readonly (readonly [method: string, path: string])[] = [
  ["DELETE", "/api/delete"],
  ["DELETE", "/v1/files/file-x"],
  ["DELETE", "/v1/responses/%2e%2e%2f"],
  ["GET", "/v1/files/..%2f..%2fetc%2fpasswd/content"],
  ["GET", "/v1/files?limit=1e9&after=%00&order=x"],
  ["GET", "/v1/batches?limit=-1&after=..%2f"],
  ["GET", "/v1/batches/batch_%00"],
  ["GET", "/api/tags?x=%ff"],
  ["PUT", "/v1/batches"],
];

/** Mulberry32: a small generator that a number seeds. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const values: unknown[] = [
  ...[null, true, false, 0, -1, 1, 0.5, -0, 1e308, -1e308, 2 ** 53, 2 ** 31, -(2 ** 31), 4096, 1e-320],
  ...[
    "",
    "x",
    "<|eot_id|>",
    "<|begin_of_text|>".repeat(20),
    "\u0000",
    "\ud800",
    "\uffff",
    "a".repeat(3000),
    "{{ 7 * 7 }}",
    "../../etc/passwd",
  ],
  ...[
    [],
    {},
    [[]],
    [{}],
    [null],
    [1, 2, 3],
    [[1], [2]],
    ["a", "b"],
    { type: "text", text: "x" },
    [{ type: "text", text: "x" }],
  ],
  ...[
    { role: "user", content: "x" },
    [{ role: "user", content: "x" }],
    [{ role: "system", content: [{ type: "text", text: "y" }] }],
    [{ role: "tool", content: "z" }],
  ],
  ...[
    { type: "json_object" },
    { type: "json_schema", json_schema: { name: "x", schema: { type: "object" } } },
  ],
  ...[
    { type: "json_schema", json_schema: { schema: { $ref: "#" } } },
    { type: "json_schema", json_schema: { schema: { enum: [] } } },
  ],
  ...[
    [{ type: "function", function: { name: "f", parameters: { type: "object" } } }],
    [{ name: "f", input_schema: {} }],
    "required",
    "auto",
    { type: "any" },
  ],
  ...[
    { num_predict: 3 },
    { num_predict: -5, stop: [""] },
    { seed: 1e20 },
    { constructor: 1 },
    { toString: "x" },
  ],
  ...[
    "adapter",
    "adapter:latest",
    "tiny",
    "owner/name",
    "http://127.0.0.1:9/x/y",
    "nobody@x/y",
    "nobody/../x",
  ],
  ...["file-x", "/v1/chat/completions", "24h", { anchor: "created_at", seconds: -1 }],
];
const names =
  "model messages prompt input max_tokens max_completion_tokens max_output_tokens n stream stop temperature top_p top_k min_p typical_p seed logprobs top_logprobs logit_bias tools tool_choice response_format format options system stop_sequences echo suffix best_of stream_options n_predict content tokens guided_regex guided_choice guided_json previous_response_id instructions text think raw context keep_alive repeat_penalty repeat_last_n frequency_penalty presence_penalty chat_template_kwargs stop_token_ids ignore_eos n_probs role name dry_multiplier dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers xtc_probability xtc_threshold lora insecure source destination input_file_id endpoint completion_window metadata output_expires_after dimensions encoding_format truncate".split(
    " ",
  );

function hostileBody(random: () => number): string | Uint8Array {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const body: Record<string, unknown> = {
    max_tokens: 2,
    n_predict: 2,
    max_output_tokens: 2,
    options: { num_predict: 2 },
  };
  if (random() < 0.7)
    Object.assign(body, {
      messages: [{ role: "user", content: "Hi" }],
      prompt: "Hi",
      input: "Hi",
      model: "tiny",
      content: "Hi",
    });
  for (let i = 0; i < 1 + random() * 4; i++) body[pick(names)] = pick(values);
  const text = JSON.stringify(body);
  const kind = random();
  if (kind < 0.1) return text.slice(0, Math.floor(random() * text.length));
  if (kind < 0.15) {
    const bytes = new TextEncoder().encode(text);
    bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    return bytes;
  }
  if (kind < 0.18) return text.replace("{", `{"a":${"[".repeat(3000)}${"]".repeat(3000)},`);
  if (kind < 0.2) return text.replace("{", '{"__proto__":{"polluted":true},');
  return text;
}

/** A form as a browser sends it, and as nobody should. */
function hostileUpload(random: () => number): { body: string; type: string } {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const boundary = pick(["x", "x".repeat(70), "", "a b", '"q"']);
  const part = () =>
    `--${boundary}\r\ncontent-disposition: form-data; name="${pick(["file", "purpose", "x", "", "file\0"])}"${pick(["", '; filename="a"', '; filename="../../a"'])}\r\n\r\n${pick(["batch", "{}", '{"custom_id":"1"}\n', "\0", ""])}\r\n`;
  const parts = Array.from({ length: Math.floor(random() * 4) }, part).join("");
  const body = parts + pick([`--${boundary}--\r\n`, "", "--"]);
  return {
    body,
    type: pick([`multipart/form-data; boundary=${boundary}`, "multipart/form-data", "text/plain"]),
  };
}

/** The request of that number. @returns The statuses of its answers. */
async function send(i: number): Promise<readonly number[]> {
  const random = generator(i);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const kind = random();
  if (kind < 0.3) {
    const http = pick(httpKinds);
    const bytes = hostileHttp(http, random);
    const { statuses, text } = await sendRaw(server.port, bytes).catch((cause: unknown) => {
      throw new Error(`request ${i}: ${http}: ${bytes.toString("latin1").slice(0, 300)}`, { cause });
    });
    check(`request ${i}: ${http}: ${bytes.toString("latin1").slice(0, 300)}`, statuses, text);
    return statuses;
  }
  if (kind < 0.36) {
    const { path, body } = hostileForm(random);
    return ask(i, "POST", path, { body: JSON.stringify(body) });
  }
  const [method, path] = random() < 0.1 ? pick(otherRequests) : (["POST", pick(paths)] as const);
  const form = path === "/v1/files" && random() < 0.8 ? hostileUpload(random) : null;
  const body = method === "GET" ? undefined : (form?.body ?? hostileBody(random));
  return ask(i, method, path, {
    ...(body === undefined ? {} : { body: body as BodyInit }),
    ...(form === null ? {} : { headers: { "content-type": form.type } }),
  });
}

async function ask(i: number, method: string, path: string, init: RequestInit): Promise<readonly number[]> {
  const sent = `request ${i} ${method} ${path} ${String(init.body).slice(0, 400)}`;
  const signal = AbortSignal.timeout(120_000);
  const response = await fetch(server.url + path, { method, signal, ...init }).catch((cause: unknown) => {
    throw new Error(`${sent}: no answer; ${server.log().slice(-500)}`, { cause });
  });
  check(sent, [response.status], await response.text());
  return [response.status];
}

function check(sent: string, statuses: readonly number[], text: string): void {
  const shown = `${sent} → ${statuses.join()} ${text.slice(0, 300)}`;
  expect(
    statuses.some((status) => status === 500 || status === 502),
    shown,
  ).toBe(false);
  expect(/internal error/.test(text), shown).toBe(false);
}

test(`${nRequests} hostile requests`, { timeout: 4 * 3_600_000 }, async () => {
  let next = Number(process.env.BITNET_HOSTILE_FROM ?? 0);
  const end = next + nRequests;
  const seen = new Map<number, number>();
  const work = async () => {
    for (let i = next++; i < end; i = next++)
      for (const status of await send(i)) seen.set(status, (seen.get(status) ?? 0) + 1);
  };
  await Promise.all(Array.from({ length: 8 }, work));
  expect(seen.get(200) ?? 0).toBeGreaterThan(nRequests / 50);
  expect(seen.get(400) ?? 0).toBeGreaterThan(nRequests / 10);
  expect(server.child.exitCode).toBe(null);
  await expectIdle();
});

async function expectIdle(): Promise<void> {
  const { requests } = (await (await server.get("/stats")).json()) as {
    requests: { running: number; queued: number };
  };
  expect(requests).toMatchObject({ running: 0, queued: 0 });
}

test("requests behind each other on one connection are answered in their order", async () => {
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  const body = JSON.stringify({ prompt: "The", max_tokens: 2, temperature: 0, model: "tiny" });
  const post = `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const bytes = Buffer.from([get("/health/live"), post, get("/none"), post, get("/v1/models")].join(""));
  const { statuses, text } = await sendRaw(server.port, bytes);
  // The last is the goodbye.
  expect(statuses).toEqual([200, 200, 404, 200, 200, 200]);
  expect([...text.matchAll(/"text_completion"/g)].length).toBe(2);
});

test("an upload that is cut at any byte, said or not, is refused and leaves nothing", async () => {
  const form = [
    '--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n',
    '--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{"custom_id":"1"}\r\n--b--\r\n',
  ].join("");
  const head = (length: number) =>
    `POST /v1/files HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${length}\r\n\r\n`;
  const files = async () =>
    ((await (await server.get("/v1/files?limit=10000")).json()) as { data: unknown[] }).data.length;
  const before = await files();
  // The last line feed says nothing any more.
  for (let at = 0; at < form.length - 2; at++) {
    const cut = form.slice(0, at);
    const said = await sendRaw(server.port, Buffer.from(head(at) + cut), { ending: "none" });
    expect([at, said.statuses]).toEqual([at, [400]]);
    const unsaid = await sendRaw(server.port, Buffer.from(head(form.length) + cut), { ending: "cut" });
    expect([at, unsaid.statuses.filter((status) => status !== 400)]).toEqual([at, []]);
  }
  expect(await files()).toBe(before);
  const whole = await sendRaw(server.port, Buffer.from(head(form.length) + form), { ending: "none" });
  expect(whole.statuses).toEqual([200]);
  expect(await files()).toBe(before + 1);
  await expectIdle();
}, 120_000);
