/** Clients that leave in every phase of a request, or take next to nothing of its answer: the real process lets go of what they held. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

let server: ServerProcess;
beforeAll(async () => {
  server = await startServerProcess(["--parallel", "1", "--stall-timeout", "2"]);
});
afterAll(() => server?.end());

const messages = [{ role: "user", content: "Hello" }];
/** Until the context is full. */
const long = { messages, max_tokens: 4096, ignore_eos: true };

interface Stats {
  requests: { running: number; queued: number };
  models: { engine: { running: number; waiting: number; steps: number } }[];
}

async function stats(): Promise<Stats & { steps: number; isIdle: boolean }> {
  const read = (await (await server.get("/stats")).json()) as Stats;
  const { running, waiting, steps } = read.models[0]?.engine ?? { running: 0, waiting: 0, steps: 0 };
  const isIdle = read.requests.running + read.requests.queued + running + waiting === 0;
  return { ...read, steps, isIdle };
}

/** Asks again until it holds; the test's own time limit is the end of patience. */
async function until(holds: (now: Awaited<ReturnType<typeof stats>>) => boolean): Promise<void> {
  while (!holds(await stats())) await new Promise((resolve) => setImmediate(resolve));
}

async function open(): Promise<Socket> {
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

function head(path: string, length: number): string {
  return `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n\r\n`;
}

function send(socket: Socket, path: string, body: object): void {
  const text = JSON.stringify(body);
  socket.write(head(path, text.length) + text);
}

/** Resolves when the text has come. */
function reads(socket: Socket, wanted: string): Promise<void> {
  return new Promise((resolve) => {
    let text = "";
    socket.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
      if (text.includes(wanted)) resolve();
    });
  });
}

const dialects = [
  ["/v1/chat/completions", { ...long, n: 4, stream: true }, '"length"'],
  ["/v1/chat/completions", { ...long, n: 4 }, null],
  ["/v1/messages", { ...long, stream: true }, "message_delta"],
  ["/api/chat", { model: "tiny", messages, options: { num_predict: -1 } }, '"done":true'],
] as const;

test.each(dialects)(
  "%s %j: whoever leaves in any phase frees its place",
  async (path, body, last) => {
    const phases: Record<string, () => Promise<Socket>> = {
      async upload() {
        const socket = await open();
        socket.write(head(path, 1000) + JSON.stringify(body).slice(0, 20));
        return socket;
      },
      async prefill() {
        const socket = await open();
        send(socket, path, body);
        await until(({ requests }) => requests.running === 1);
        return socket;
      },
      async queue() {
        const first = await open();
        send(first, "/v1/chat/completions", { ...long, n: 100 });
        await until(({ requests }) => requests.running === 1);
        const socket = await open();
        send(socket, path, body);
        await until(({ requests }) => requests.queued === 1);
        socket.once("close", () => first.destroy());
        return socket;
      },
      async decode() {
        const socket = await open();
        const begun = last === null ? null : reads(socket, "data: ");
        const { steps } = await stats();
        send(socket, path, body);
        if (begun === null || path === "/api/chat") await until((now) => now.steps > steps + 2);
        else await begun;
        return socket;
      },
      ...(last === null
        ? {}
        : {
            async "last byte"() {
              const socket = await open();
              const ended = reads(socket, last);
              send(socket, path, body);
              await ended;
              return socket;
            },
          }),
    };
    for (const [phase, begin] of Object.entries(phases)) {
      const socket = await begin();
      socket.destroy();
      await until(({ isIdle }) => isIdle);
      // A step that was on its way ends; nothing more is computed for those who have gone.
      const { steps } = await stats();
      await stats();
      expect((await stats()).steps, phase).toBeLessThanOrEqual(steps + 1);
    }
    const answer = await server.post("/v1/completions", { prompt: "The", max_tokens: 1 });
    expect(answer.status).toBe(200);
  },
  120_000,
);

test("a client that takes a byte now and then is cut off, and holds nothing back", async () => {
  const socket = await open();
  socket.pause();
  const closed = once(socket, "close");
  send(socket, "/v1/chat/completions", { ...long, n: 128, stream: true, logprobs: true, top_logprobs: 20 });
  let nTaken = 0;
  const sip = setInterval(() => {
    if (socket.read(1) !== null) nTaken++;
  }, 100);
  try {
    await until(({ requests }) => requests.running === 1);
    const next = server.post("/v1/completions", { prompt: "The", max_tokens: 1 });
    // Waits for its turn meanwhile.
    expect((await next).status).toBe(200);
    expect(nTaken).toBeGreaterThan(0);
    await until(({ isIdle }) => isIdle);
  } finally {
    clearInterval(sip);
  }
  socket.resume();
  await closed;
}, 120_000);
