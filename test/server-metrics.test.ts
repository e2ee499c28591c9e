/** What a server tells those who watch it; Prometheus' own tool reads the metrics and the rules. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

const rules = fileURLToPath(new URL("../packages/server/prometheus/rules.yml", import.meta.url));
const isMissing = spawnSync("promtool", ["--version"]).error !== undefined;
if (isMissing && process.env.BITNET_REQUIRE_ALL === "1")
  throw new Error("promtool is missing (Debian: prometheus)");
if (isMissing)
  console.warn("promtool is missing (Debian: prometheus): metrics and rules are not checked with it");

function promtool(args: readonly string[], input = ""): string {
  const { status, stdout, stderr } = spawnSync("promtool", args, { input, encoding: "utf8" });
  return `${status} ${stdout}${stderr}`;
}

let server: ServerProcess;
beforeAll(async () => {
  server = await startServerProcess([
    "--monitor-interval",
    "1",
    "--log-format",
    "json",
    "--alert",
    "memory=1,idle_cpu=off,errors=off,first_token=off,throughput=off",
  ]);
});
afterAll(() => server?.end());

const metrics = async () => (await server.get("/metrics")).text();
const metricOf = (text: string, name: string) => {
  const line = text.split("\n").find((each) => each.startsWith(`${name} `) || each.startsWith(`${name}{`));
  return line === undefined ? null : Number(line.slice(line.lastIndexOf(" ")));
};

test("counts requests, tokens, reasons and times, under labels of fixed sets", async () => {
  const body = {
    prompt: "Hello there, how are you today, my dear friend of old?",
    max_tokens: 9,
    ignore_eos: true,
  };
  for (let i = 0; i < 3; i++) await (await server.post("/v1/completions", { ...body, seed: i })).json();
  await server.post("/v1/completions", { ...body, model: "a name that clients make up" });
  await server.get("/a path that clients make up");
  await server.get("/v1/models", { origin: "https://evil.example" });
  await server.get("/v1/models/%ff");
  const text = await metrics();
  const labels = '{model_name="tiny"}';
  expect(metricOf(text, `bitnet_generation_tokens_total${labels}`)).toBe(27);
  expect(metricOf(text, "bitnet_request_success_total")).toBe(3);
  expect(text).toContain('bitnet_request_success_total{model_name="tiny",finished_reason="length"} 3');
  expect(text).toContain('bitnet_http_requests_total{route="/v1/completions",code="200"} 3');
  expect(text).toContain('bitnet_http_requests_total{route="/v1/completions",code="404"} 1');
  // What is refused before any handler sees it counts, too.
  for (const refused of [
    'route="none",code="404"',
    'route="/v1/models",code="403"',
    'route="none",code="400"',
  ])
    expect(text).toContain(`bitnet_http_requests_total{${refused}} 1`);
  for (const name of ["time_to_first_token", "e2e_request_latency", "request_queue_time"])
    expect(metricOf(text, `bitnet_${name}_seconds_count${labels}`)).toBe(3);
  expect(metricOf(text, `bitnet_inter_token_latency_seconds_count${labels}`)).toBe(24);
  expect(metricOf(text, `bitnet_prefix_cache_hits_total${labels}`)).toBeGreaterThan(0);
  expect(metricOf(text, "bitnet_num_requests_running")).toBe(0);
  expect(metricOf(text, "bitnet_num_tokens_waiting")).toBe(0);
  expect(text).not.toContain("make up");
});

test("tokens that wait are a metric: those of the bodies and of the answers that are asked for", async () => {
  const busy = await startServerProcess(["--parallel", "1"]);
  const ask = (max_tokens: number) =>
    busy.post("/v1/completions", { prompt: "Hello", max_tokens, ignore_eos: true, stream: true });
  const running = await ask(2000);
  const waiting = [ask(300), ask(50)];
  let text = "";
  while (metricOf(text, "bitnet_num_requests_waiting") !== 2)
    text = await (await busy.get("/metrics")).text();
  const tokens = metricOf(text, "bitnet_num_tokens_waiting") ?? 0;
  expect(tokens).toBeGreaterThan(350);
  expect(tokens).toBeLessThan(450);
  await running.body?.cancel();
  for (const each of waiting) await (await each).text();
  expect(metricOf(await (await busy.get("/metrics")).text(), "bitnet_num_tokens_waiting")).toBe(0);
  await busy.end();
});

test.skipIf(isMissing)("promtool finds nothing wrong with the metrics", async () => {
  expect(promtool(["check", "metrics"], await metrics())).toBe("0 ");
});

test.skipIf(isMissing)("promtool finds nothing wrong with the rules, and they do what they say", () => {
  expect(promtool(["check", "rules", rules])).toMatch(/^0 [\s\S]*SUCCESS: 12 rules found/);
  expect(promtool(["test", "rules", rules.replace("rules.yml", "rules.test.yml")])).toMatch(
    /^0 [\s\S]*SUCCESS/,
  );
});

test("the rules speak of metrics that there are", async () => {
  const text = await metrics();
  const names = new Set(readFileSync(rules, "utf8").match(/\b(bitnet_\w+|process_\w+)/g));
  expect(names.size).toBeGreaterThan(8);
  for (const name of names) expect(text).toMatch(new RegExp(`^# TYPE ${name.replace(/_bucket$/, "")} `, "m"));
});

test("summary, history, alerts and export", async () => {
  const json = async (path: string) => (await server.get(path)).json() as Promise<Record<string, unknown>>;
  let summary = await json("/monitor/summary?hours=1");
  while ((summary.snapshots as number) < 1) summary = await json("/monitor/summary?hours=1");
  expect(summary).toMatchObject({ success_rate: expect.any(Number), alerts: 1 });
  expect(await json("/monitor/alerts")).toMatchObject({
    alerts: [{ type: "memory", active: true, severity: "warning" }],
  });
  const [head, first] = (await (await server.get("/monitor/export?format=csv")).text()).split("\r\n");
  expect(head?.split(",").slice(0, 3)).toEqual(["time", "memory_mb", "cpu_percent"]);
  expect(first?.split(",").length).toBe(head?.split(",").length);
  // Numbers and a time: nothing that a client says, or that a spreadsheet takes for a formula.
  for (const cell of first?.split(",") ?? [])
    expect(cell).toMatch(/^(\d{4}-\d\d-\d\dT[\d:.]+Z|\d+(\.\d+)?(e-\d+)?)?$/);
  const exported = (await json("/monitor/export")).snapshots as object[];
  const history = (await json("/monitor/history?hours=24")).snapshots as object[];
  expect(exported.length).toBeGreaterThan(0);
  // There may be one more by now.
  expect(history.slice(0, exported.length)).toEqual(exported);
  for (const wrong of ["hours=0", "hours=25", "hours=x", "format=xml"])
    expect([wrong, (await server.get(`/monitor/export?${wrong}`)).status]).toEqual([wrong, 400]);
});

test("the log has a line of JSON for every request under its id, and nothing of its text", async () => {
  const response = await server.post("/v1/completions?secret=1", {
    prompt: "very private words",
    max_tokens: 1,
  });
  await response.json();
  const id = response.headers.get("x-request-id");
  const lines = () =>
    server
      .log()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as { reqId?: string; res?: { statusCode: number } });
  while (!lines().some((line) => line.reqId === id && line.res?.statusCode === 200))
    await new Promise((resolve) => setImmediate(resolve));
  expect(server.log()).not.toMatch(/private|secret/);
});
