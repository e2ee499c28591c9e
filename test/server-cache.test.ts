/** Kept answers, against the real process. */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createKey, fileKeys } from "@bitnet.ts/server";
import { afterEach, expect, test } from "vitest";
import { readEvents, type ServerProcess, startServerProcess } from "./server-process.ts";

let server: ServerProcess | null = null;
afterEach(async () => {
  await server?.end();
  server = null;
});

const messages = [{ role: "user", content: "Hello" }];
type Answer = { choices: { message: { content: string }; finish_reason: string }[]; usage: object };

async function ask(body: object, headers: Record<string, string> = {}) {
  const response = await (server as ServerProcess).post(
    "/v1/chat/completions",
    { messages, max_tokens: 8, ...body },
    headers,
  );
  const { choices, usage } = (await response.json()) as Answer;
  const [choice] = choices;
  return { cache: response.headers.get("x-bitnet-cache"), text: choice?.message.content, usage };
}

test("an equal request gets the equal answer, whole and streamed, with the same usage", async () => {
  server = await startServerProcess();
  const first = await ask({ seed: 1, logprobs: true, top_logprobs: 2 });
  const second = await ask({ seed: 1, logprobs: true, top_logprobs: 2 });
  expect([first.cache, second.cache]).toEqual(["miss", "hit"]);
  expect(second.text).toBe(first.text);
  expect(second.usage).toMatchObject({ completion_tokens: 8 });
  const streamed = await server.post("/v1/chat/completions", {
    messages,
    max_tokens: 8,
    seed: 1,
    logprobs: true,
    top_logprobs: 2,
    stream: true,
  });
  expect(streamed.headers.get("x-bitnet-cache")).toBe("hit");
  const events = (await readEvents(streamed)) as { choices: { delta: { content?: string | null } }[] }[];
  expect(events.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe(first.text);
});

test("whatever differs, differs; and what nothing determines is never kept", async () => {
  server = await startServerProcess();
  await ask({ seed: 1 });
  for (const other of [
    { seed: 2 },
    { seed: 1, temperature: 0.9 },
    { seed: 1, max_tokens: 7 },
    { seed: 1, logit_bias: { 5: -100 } },
    { seed: 1, stop: "x" },
    { seed: 1, guided_choice: ["yes", "no"] },
    { seed: 1, messages: [...messages, { role: "assistant", content: "a" }] },
  ])
    expect([other, (await ask(other)).cache]).toEqual([other, "miss"]);
  expect((await ask({ seed: 1, n: 2 })).cache).toBe("miss"); // its second answer is new
  expect((await ask({ seed: 1, n: 2 })).cache).toBe("hit");
  expect([(await ask({})).cache, (await ask({})).cache]).toEqual([null, null]);
  expect([(await ask({ temperature: 0 })).cache, (await ask({ temperature: 0, seed: 9 })).cache]).toEqual([
    "miss",
    "hit",
  ]);
  expect((await ask({ seed: 1 }, { "cache-control": "no-cache" })).cache).toBe(null);
  const { answer_cache } = (await (await server.get("/stats")).json()) as { answer_cache: { hits: number } };
  // One of the two answers of n = 2 at first, both then, and the greedy one.
  expect(answer_cache.hits).toBe(4);
});

test("an answer that was withheld is not kept", async () => {
  const folder = await mkdtemp(join(tmpdir(), "bitnet-cache-"));
  const file = join(folder, "rules.json");
  await writeFile(file, JSON.stringify({ rules: [{ name: "all", pattern: "[a-z]", on: "output" }] }));
  server = await startServerProcess(["--filter", file]);
  for (let i = 0; i < 3; i++) {
    const response = await server.post("/v1/chat/completions", { messages, seed: 1, max_tokens: 8 });
    expect(response.status).toBe(422);
  }
  const { answer_cache } = (await (await server.get("/stats")).json()) as { answer_cache: object };
  expect(answer_cache).toMatchObject({ entries: 0, hits: 0, misses: 3 });
});

test("tenants share no answers; 0 bytes keep none", async () => {
  const keysFile = join(await mkdtemp(join(tmpdir(), "bitnet-cache-")), "keys.json");
  const [a, b, c] = [
    await createKey(fileKeys(keysFile), { name: "a", tenant: "t", limits: {} }),
    await createKey(fileKeys(keysFile), { name: "b", tenant: "u", limits: {} }),
    await createKey(fileKeys(keysFile), { name: "c", tenant: "t", limits: {} }),
  ];
  server = await startServerProcess(["--keys", keysFile]);
  const as = async ({ key }: { key: string }) =>
    (await ask({ seed: 1 }, { authorization: `Bearer ${key}` })).cache;
  expect([await as(a), await as(b), await as(c), await as(a)]).toEqual(["miss", "miss", "hit", "hit"]);
  await server.end();
  server = await startServerProcess(["--cache-bytes", "0"]);
  expect([(await ask({ seed: 1 })).cache, (await ask({ seed: 1 })).cache]).toEqual([null, null]);
});

test("--cache-age bounds how long an answer is kept", async () => {
  server = await startServerProcess(["--cache-age", "1"]);
  const first = await ask({ seed: 1 });
  // Asked again and again until it is forgotten, which hits do not put off.
  let again = await ask({ seed: 1 });
  while (again.cache === "hit") again = await ask({ seed: 1 });
  expect([again.cache, again.text]).toEqual(["miss", first.text]);
  await expect(startServerProcess(["--cache-age", "0"])).rejects.toThrow(/--cache-age/);
});
