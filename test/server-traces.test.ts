/** Traces, as a collector of OpenTelemetry gets them. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bitnet } from "./cli-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: { key: string; value: Record<string, unknown> }[];
  events?: { name: string; timeUnixNano: string }[];
  status: { code?: number };
}

let collector: Server;
let server: ServerProcess;
const sent: {
  path: string;
  headers: Record<string, unknown>;
  body: { resourceSpans: { resource: { attributes: unknown[] }; scopeSpans: { spans: Span[] }[] }[] };
}[] = [];

beforeAll(async () => {
  collector = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    request.on("end", () => {
      sent.push({ path: request.url ?? "", headers: request.headers, body: JSON.parse(text) });
      response.end("{}");
    });
  }).listen(0, "127.0.0.1");
  await once(collector, "listening");
  server = await startServerProcess([], collecting());
});
afterAll(async () => {
  await server?.end();
  collector?.close();
});

/** The environment of a server that sends its spans here. */
const collecting = () => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}/`,
  OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20secret",
  OTEL_SERVICE_NAME: "tests",
});
const spans = () =>
  sent.flatMap(({ body }) =>
    body.resourceSpans.flatMap((each) => each.scopeSpans.flatMap((scope) => scope.spans)),
  );
const valuesOf = ({ attributes }: Span) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
async function spansWhere(isWanted: (span: Span) => boolean, count: number): Promise<Span[]> {
  for (;;) {
    const found = spans().filter(isWanted);
    if (found.length >= count) return found;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const traceId = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
const body = {
  messages: [{ role: "user", content: "a private matter" }],
  max_tokens: 6,
  ignore_eos: true,
  n: 2,
};

test("a request is a part of its caller's trace, its answers are parts of it", async () => {
  const response = await server.post("/v1/chat/completions", body, { traceparent });
  await response.json();
  const [root, ...answers] = await spansWhere((span) => span.traceId === traceId, 3);
  expect(root).toMatchObject({
    name: "POST /v1/chat/completions",
    kind: 2,
    parentSpanId: "b7ad6b7169203331",
    status: {},
  });
  expect(valuesOf(root as Span)).toEqual({
    "http.request.method": "POST",
    "http.route": "/v1/chat/completions",
    "http.response.status_code": "200",
    "bitnet.request_id": response.headers.get("x-request-id"),
  });
  expect(answers).toHaveLength(2);
  for (const answer of answers) {
    expect(answer).toMatchObject({ name: "chat tiny", kind: 1, parentSpanId: root?.spanId });
    expect(valuesOf(answer)).toMatchObject({
      "gen_ai.operation.name": "chat",
      "gen_ai.request.model": "tiny",
      "gen_ai.usage.output_tokens": "6",
    });
    const [start, end] = [BigInt(answer.startTimeUnixNano), BigInt(answer.endTimeUnixNano)];
    const first = BigInt(answer.events?.[0]?.timeUnixNano ?? 0);
    expect([first >= start, end >= first, BigInt(root?.endTimeUnixNano ?? 0) >= end - 2_000_000n]).toEqual([
      true,
      true,
      true,
    ]);
  }
  const [delivery] = sent;
  expect(delivery).toMatchObject({ path: "/v1/traces", headers: { authorization: "Bearer secret" } });
  expect(delivery?.body.resourceSpans[0]?.resource.attributes).toContainEqual({
    key: "service.name",
    value: { stringValue: "tests" },
  });
  expect(JSON.stringify(sent)).not.toContain("private");
});

test("a failed request says why; one that its caller does not record is not sent; health checks are none", async () => {
  await server.get("/health");
  await (
    await server.post(
      "/v1/completions",
      { prompt: "x", max_tokens: 1 },
      { traceparent: `${traceparent.slice(0, -2)}00` },
    )
  ).json();
  await (await server.post("/v1/completions", { prompt: 5 }, { traceparent: "nonsense" })).json();
  const [span] = await spansWhere(({ name }) => name === "POST /v1/completions", 1);
  expect(valuesOf(span as Span)).toMatchObject({
    "http.response.status_code": "400",
    "error.type": "INVALID_INPUT",
  });
  expect(span?.parentSpanId).toBeUndefined();
  expect(
    spans()
      .map(({ name }) => name)
      .filter((name) => name.includes("health")),
  ).toEqual([]);
});

test("requests that end while the server does are sent", async () => {
  const own = await startServerProcess([], collecting());
  const ownTrace = "1af7651916cd43dd8448eb211c80319d";
  const long = { ...body, max_tokens: 400, n: 4, stream: true };
  const answer = await own.post("/v1/chat/completions", long, {
    traceparent: `00-${ownTrace}-b7ad6b7169203331-01`,
  });
  const ended = own.end("SIGTERM");
  await answer.text();
  await ended;
  expect(spans().filter((span) => span.traceId === ownTrace)).toHaveLength(5);
});

test("a collector that is away harms nobody", async () => {
  const alone = await startServerProcess([], { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" });
  expect((await alone.post("/v1/completions", { prompt: "x", max_tokens: 1 })).status).toBe(200);
  while (!/traces: the collector does not take them/.test(alone.log()))
    await new Promise((resolve) => setImmediate(resolve));
  expect(await alone.end("SIGTERM")).toBe(143);
  expect((await bitnet(["serve", "--help"])).stdout).toContain("OTEL_EXPORTER_OTLP_ENDPOINT");
});
