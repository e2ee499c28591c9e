/** Several models in one server, within a budget of memory, against the real process. */
import { Ollama } from "ollama";
import { afterEach, expect, test } from "vitest";
import { tinyModel } from "./cli-process.ts";
import { readEvents, type ServerProcess, startServerProcess } from "./server-process.ts";
import { tinyModels } from "./tiny-model.ts";

let server: ServerProcess | null = null;
afterEach(async () => {
  await server?.end();
  server = null;
});

const both = ["--model", `one=${tinyModel}`, "--model", `two=${tinyModels.tq2_0}`];
const ask = async (of: ServerProcess, model: string, more: object = {}) =>
  of.post("/v1/completions", { model, prompt: "The", max_tokens: 2, seed: 1, ...more });

interface Stats {
  models: { name: string; loaded_at: string | null }[];
}
async function loaded(of: ServerProcess): Promise<string[]> {
  const { models } = (await (await of.get("/stats")).json()) as Stats;
  return models.filter(({ loaded_at }) => loaded_at !== null).map(({ name }) => name);
}
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

test("all are listed, loaded when they are asked for, and both stay where there is room", async () => {
  server = await startServerProcess(both);
  const { data } = (await (await server.get("/v1/models")).json()) as { data: { id: string }[] };
  expect(data.map(({ id }) => id)).toEqual(["one", "two"]);
  expect(await loaded(server)).toEqual(["one"]);
  const [one, two] = [await ask(server, "one"), await ask(server, "two")];
  expect([one.status, two.status]).toEqual([200, 200]);
  const text = async (response: Response) =>
    ((await response.json()) as { choices: { text: string }[] }).choices[0]?.text;
  // The same weights in another format.
  expect(await text(two)).toBe(await text(one));
  expect(await loaded(server)).toEqual(["one", "two"]);
  expect((await ask(server, "three")).status).toBe(404);
});

test("within a budget the one that has rested longest makes room, once its readers are gone", async () => {
  server = await startServerProcess([...both, "--memory-limit", "16M", "--cache-bytes", "0"]);
  const long = { max_tokens: 200, ignore_eos: true, stream: true };
  const running = await ask(server, "one", long);
  const second = ask(server, "two");
  const events = await readEvents(running);
  expect(events.length).toBeGreaterThan(20); // the reader has not been cut off
  expect((await second).status).toBe(200);
  expect(await loaded(server)).toEqual(["two"]);
  const crowd = await Promise.all(
    Array.from({ length: 12 }, (_, i) => ask(server as ServerProcess, i % 2 === 0 ? "one" : "two")),
  );
  expect(crowd.map(({ status }) => status)).toEqual(Array(12).fill(200));
});

test("a budget that cannot hold the model is an error with the arithmetic", async () => {
  await expect(startServerProcess([...both, "--memory-limit", "4M"])).rejects.toThrow(
    /needs 1\.7 MiB for weights, .* tokens of KV cache, but all models together may take 4\.0 MiB/,
  );
  await expect(startServerProcess(["--model", tinyModel, "--model", tinyModel])).rejects.toThrow(
    "two models",
  );
});

test("Ollama's keep_alive unloads, at once or later, and ps tells when", async () => {
  server = await startServerProcess(both);
  const ollama = new Ollama({ host: server.url });
  const options = { num_predict: 2 };
  await ollama.generate({ model: "two", prompt: "Hi", keep_alive: "10m", options });
  const entry = (await ollama.ps()).models.find(({ name }) => name === "two:latest");
  const left = new Date(entry?.expires_at ?? 0).getTime() - Date.now();
  expect(left).toBeGreaterThan(500_000);
  expect(left).toBeLessThanOrEqual(600_000);
  const gone = await ollama.generate({ model: "two", prompt: "", keep_alive: 0 });
  expect(gone.done_reason).toBe("unload");
  await until(async () => (await loaded(server as ServerProcess)).join() === "one");
  // Once more: there is nothing to let go of, and nothing is loaded for it.
  expect((await ollama.generate({ model: "two", prompt: "", keep_alive: 0 })).load_duration ?? 0).toBe(0);
  expect((await ollama.chat({ model: "two", messages: [], keep_alive: 0 })).done_reason).toBe("unload");
  expect(await loaded(server)).toEqual(["one"]);
  const facts = (await ollama.list()).models.find(({ name }) => name === "two:latest")?.details;
  expect(facts).toMatchObject({ family: "", parameter_size: "", quantization_level: "" });
  // What was said of the one that was unloaded is not said of the next.
  await ollama.generate({ model: "two", prompt: "Hi", options });
  const again = await ollama.generate({ model: "two", prompt: "Hi", options });
  expect([again.load_duration, (await loaded(server)).join()]).toEqual([0, "one,two"]);
  await ollama.chat({
    model: "two",
    messages: [{ role: "user", content: "Hi" }],
    keep_alive: "1ms",
    options,
  });
  await until(async () => (await loaded(server as ServerProcess)).join() === "one");
  await ollama.generate({ model: "two", prompt: "Hi", keep_alive: -1, options });
  expect((await ollama.ps()).models.map(({ name }) => name)).toEqual(["one:latest", "two:latest"]);
  const bad = await server.post("/api/generate", { model: "two", prompt: "x", keep_alive: "soon" });
  expect(bad.status).toBe(400);
});
