/** What clients do to a server, of every kind: answers whole and streamed, clients that leave, forms, files, batches, nonsense. */

import type { ServerProcess } from "../server-process.ts";
import type { Chance } from "../simulation/chance.ts";

type Act = (server: ServerProcess, chance: Chance) => Promise<void>;

const words = ["red", "green", "blue", "stone", "river", "seven", "moon", "glass"];
const prompt = (chance: Chance) =>
  Array.from({ length: chance.int(0, 24) + 1 }, () => words[chance.int(0, words.length - 1)]).join(" ");

/** Sends, expects a status, and reads to the end. */
async function send(server: ServerProcess, path: string, body: object, status = 200): Promise<string> {
  const response = await server.post(path, body);
  const text = await response.text();
  if (response.status !== status)
    throw new Error(`${path}: ${response.status} instead of ${status}: ${text}`);
  return text;
}

const acts: readonly Act[] = [
  async (server, chance) => {
    await send(server, "/v1/completions", {
      prompt: prompt(chance),
      max_tokens: 6,
      seed: chance.int(0, 1000),
    });
  },
  async (server, chance) => {
    const messages = [{ role: "user", content: prompt(chance) }];
    await send(server, "/v1/chat/completions", { messages, max_tokens: 8, stream: true, logprobs: true });
  },
  async (server, chance) => {
    const messages = [{ role: "user", content: prompt(chance) }];
    await send(server, "/v1/messages", { messages, max_tokens: 5 });
    await send(server, "/api/chat", { model: "tiny", messages, options: { num_predict: 5 } });
  },
  async (server, chance) => {
    const controller = new AbortController();
    const response = await fetch(`${server.url}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ prompt: prompt(chance), max_tokens: 200, stream: true, ignore_eos: true }),
      signal: controller.signal,
    });
    await response.body?.getReader().read();
    controller.abort();
  },
  async (server, chance) => {
    const schema = {
      type: "object",
      properties: { [words[chance.int(0, 3)] ?? "a"]: { enum: ["yes", "no"] } },
    };
    const response_format = { type: "json_schema", json_schema: { name: "s", schema } };
    const messages = [{ role: "user", content: "Answer." }];
    await send(server, "/v1/chat/completions", { messages, max_tokens: 20, response_format });
  },
  async (server, chance) => {
    const answer = await send(server, "/v1/responses", { input: prompt(chance), max_output_tokens: 4 });
    const { id } = JSON.parse(answer) as { id: string };
    await send(server, "/v1/responses", {
      input: "more",
      max_output_tokens: 4,
      previous_response_id: id,
      store: false,
    });
    await fetch(`${server.url}/v1/responses/${id}`, { method: "DELETE" });
  },
  async (server) => {
    await send(server, "/v1/completions", { prompt: 5, max_tokens: "many" }, 400);
    await send(server, "/v1/completions", { prompt: "x", model: "nobody" }, 404);
    await (await server.get(`/nowhere/${Math.random()}`)).text();
  },
  async (server, chance) => {
    await send(server, "/tokenize", { content: prompt(chance) });
    for (const path of ["/metrics", "/monitor/live", "/monitor/summary?hours=1", "/v1/models", "/health"])
      await (await server.get(path)).text();
  },
  async (server, chance) => {
    const lines = [1, 2].map((i) =>
      JSON.stringify({
        ...{ custom_id: `line ${i}`, method: "POST", url: "/v1/completions" },
        body: { prompt: prompt(chance), max_tokens: 3 },
      }),
    );
    const form = new FormData();
    form.append("purpose", "batch");
    form.append("file", new File([`${lines.join("\n")}\n`], "in.jsonl"));
    const file = await (await fetch(`${server.url}/v1/files`, { method: "POST", body: form })).json();
    const { id } = file as { id: string };
    const text = await send(server, "/v1/batches", {
      ...{ input_file_id: id, endpoint: "/v1/completions", completion_window: "24h" },
    });
    const batch = JSON.parse(text) as { id: string; status: string; output_file_id: string };
    for (
      let now = batch;
      ;
      now = (await (await server.get(`/v1/batches/${batch.id}`)).json()) as typeof batch
    ) {
      if (now.status !== "completed") continue;
      for (const each of [id, now.output_file_id])
        await (await fetch(`${server.url}/v1/files/${each}`, { method: "DELETE" })).text();
      return;
    }
  },
];

/** Requests that a round sends at least: an act of each kind by each client. */
export const requestsInRound = (nClients: number) => nClients * acts.length;

/** Every client does everything once, each in an order of its own. */
export async function playRound(server: ServerProcess, chance: Chance, nClients: number): Promise<void> {
  const client = async () => {
    const order = acts.map((act) => ({ act, at: chance.int(0, 1e6) })).sort((a, b) => a.at - b.at);
    for (const { act } of order) await act(server, chance);
  };
  await Promise.all(Array.from({ length: nClients }, client));
}
