/**
 * Hostile requests against the real process: none may crash it, hang it, or make it answer with an internal error. BITNET_HOSTILE sets
 * how many; a seed and a number repeat each.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { embeddedModelPath } from "bitnet.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
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
function hostileForm(random: () => number): { body: string; type: string } {
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

test(`${nRequests} hostile requests`, { timeout: 3_600_000 }, async () => {
  let next = 0;
  const seen = new Map<number, number>();
  const work = async () => {
    for (let i = next++; i < nRequests; i = next++) {
      const random = generator(i);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
      const [method, path] = random() < 0.1 ? pick(otherRequests) : (["POST", pick(paths)] as const);
      const form = path === "/v1/files" && random() < 0.8 ? hostileForm(random) : null;
      const body = method === "GET" ? undefined : (form?.body ?? hostileBody(random));
      const response = await fetch(server.url + path, {
        method,
        ...(body === undefined ? {} : { body: body as BodyInit }),
        ...(form === null ? {} : { headers: { "content-type": form.type } }),
      }).catch((cause: unknown) => {
        const sent = `request ${i} ${method} ${path} ${JSON.stringify(form)} ${String(body).slice(0, 300)}`;
        throw new Error(`${sent}: no answer; ${server.log().slice(-500)}`, { cause });
      });
      const text = await response.text();
      const shown = `request ${i} ${method} ${path} ${String(body).slice(0, 300)} → ${response.status} ${text.slice(0, 300)}`;
      expect([500, 502].includes(response.status), shown).toBe(false);
      expect(/internal error/.test(text), shown).toBe(false);
      seen.set(response.status, (seen.get(response.status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 8 }, work));
  expect(seen.get(200) ?? 0).toBeGreaterThan(nRequests / 50);
  expect(seen.get(400) ?? 0).toBeGreaterThan(nRequests / 10);
  expect(server.child.exitCode).toBe(null);
  const { requests } = (await (await server.get("/stats")).json()) as {
    requests: { running: number; queued: number };
  };
  expect(requests).toMatchObject({ running: 0, queued: 0 });
});
