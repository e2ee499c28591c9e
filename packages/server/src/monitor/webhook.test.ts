import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import type { Alert } from "./alerts.ts";
import { Webhook } from "./webhook.ts";

const alert = (n: number): Alert => ({
  ...{
    type: "errors",
    severity: "critical",
    message: `alert ${n}`,
    threshold: 5,
    start: n,
    end: null,
    peak: 9,
  },
});

let receiver: Server | null = null;
afterEach(() => {
  receiver?.closeAllConnections();
  receiver?.close();
});

/** @param answer What becomes of the n-th request, from 0. */
async function listen(
  answer: (n: number, ...args: Parameters<RequestListener>) => void,
  { timeoutMs = 60_000, retryMs = 1 } = {},
) {
  const told: string[] = [];
  let n = 0;
  receiver = createServer(async (request, response) => {
    let text = "";
    for await (const piece of request.setEncoding("utf8")) text += piece;
    told.push((JSON.parse(text) as { alert: Alert }).alert.message);
    answer(n++, request, response);
  }).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const log: string[] = [];
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  const webhook = new Webhook(url, (line) => log.push(line), {
    timeoutMs,
    retryMs: [retryMs, retryMs, retryMs],
  });
  return { webhook, told, log };
}

it("tries again when it is refused, and keeps the order", async () => {
  const { webhook, told, log } = await listen((n, _request, response) =>
    response.writeHead(n < 2 ? 500 : 204).end(),
  );
  webhook.send(alert(1));
  webhook.send(alert(2));
  await webhook.idle();
  expect([told, log]).toEqual([["alert 1", "alert 1", "alert 1", "alert 2"], []]);
});

it("gives up after four attempts, says so, and goes on with the next", async () => {
  const { webhook, told, log } = await listen((n, _request, response) =>
    response.writeHead(n < 4 ? 503 : 200).end(),
  );
  webhook.send(alert(1));
  webhook.send(alert(2));
  await webhook.idle();
  expect(told).toEqual(["alert 1", "alert 1", "alert 1", "alert 1", "alert 2"]);
  expect(log).toEqual(['monitor: the alert "errors" could not be sent: status 503']);
});

it("does not wait for one that never answers, and is led nowhere else", async () => {
  const { webhook, told, log } = await listen(
    (n, _request, response) => {
      if (n >= 2) response.writeHead(307, { location: "/elsewhere" }).end();
    },
    { timeoutMs: 300 },
  );
  webhook.send(alert(1));
  await webhook.idle();
  expect(told).toHaveLength(4);
  expect(log).toEqual([expect.stringMatching(/could not be sent: .*(redirect|fetch failed|timeout)/)]);
});

it("holds a hundred at most, and none once it is closed", async () => {
  let answerFirst: () => void = () => {};
  const { webhook, told } = await listen((n, _request, response) => {
    if (n === 0) answerFirst = () => response.end();
    else response.end();
  });
  for (let i = 0; i < 150; i++) webhook.send(alert(i));
  while (told.length === 0) await new Promise((resolve) => setImmediate(resolve));
  answerFirst();
  await webhook.idle();
  expect(told).toHaveLength(101);
  expect(told.slice(0, 2)).toEqual(["alert 0", "alert 50"]);
  webhook.send(alert(1));
  webhook.close();
  await webhook.idle();
  expect(told.length).toBeLessThanOrEqual(102);
});

it("waits for no further attempt once it is closed", async () => {
  const webhooks: Webhook[] = [];
  const { webhook, log } = await listen(() => webhooks[0]?.close(), { retryMs: 2 ** 30 });
  webhooks.push(webhook);
  webhook.send(alert(1));
  await webhook.idle();
  expect(log).toEqual([]);
});
