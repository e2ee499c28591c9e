/**
 * Hostile requests against the real process: none may crash it, hang it, or make it answer with an internal error. BITNET_HOSTILE sets
 * how many; a seed and a number repeat each.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

let server: ServerProcess;
beforeAll(async () => {
  server = await startServerProcess(["--timeout", "20", "--alias", "*"]);
});
afterAll(() => server?.end());

const nRequests = Number(process.env.BITNET_HOSTILE ?? 1500);
const paths = [
  ..."/v1/chat/completions /v1/completions /v1/responses /v1/messages /v1/messages/count_tokens /api/chat /api/generate".split(
    " ",
  ),
  ..."/api/show /completion /tokenize /detokenize /apply-template /v1/embeddings /v1/models/%00 /v1/responses/x".split(
    " ",
  ),
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
];
const names =
  "model messages prompt input max_tokens max_completion_tokens max_output_tokens n stream stop temperature top_p top_k min_p typical_p seed logprobs top_logprobs logit_bias tools tool_choice response_format format options system stop_sequences echo suffix best_of stream_options n_predict content tokens guided_regex guided_choice guided_json previous_response_id instructions text think raw context keep_alive repeat_penalty repeat_last_n frequency_penalty presence_penalty chat_template_kwargs stop_token_ids ignore_eos n_probs role name".split(
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

test(`${nRequests} hostile requests`, { timeout: 3_600_000 }, async () => {
  let next = 0;
  const seen = new Map<number, number>();
  const work = async () => {
    for (let i = next++; i < nRequests; i = next++) {
      const random = generator(i);
      const path = paths[Math.floor(random() * paths.length)] ?? "/";
      const body = hostileBody(random);
      const response = await fetch(server.url + path, { method: "POST", body: body as BodyInit });
      const text = await response.text();
      const shown = `request ${i} ${path} ${String(body).slice(0, 300)} → ${response.status} ${text.slice(0, 300)}`;
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
