/** `bitnet top` against the real server. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { bitnet, bitnetJson } from "./cli-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

let server: ServerProcess;
beforeAll(async () => {
  server = await startServerProcess();
});
afterAll(() => server?.end());

test("shows what the server has done", async () => {
  await (await server.post("/v1/completions", { prompt: "Hello", max_tokens: 7, ignore_eos: true })).json();
  const { status, stdout } = await bitnet(["top", "--url", server.url, "--once"]);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^state +ready, up \d+ s/);
  expect(stdout).toMatch(/\ndone +1, 0 failed\n/);
  expect(stdout).toMatch(/\ntokens +7 generated/);
  expect(await bitnetJson(["top", "--url", server.url, "--once"])).toMatchObject({
    requests: 1,
    generatedTokens: 7,
  });
});

test("looks again until it is interrupted; two looks make rates", async () => {
  const { status, stdout } = await bitnet(["top", "--url", server.url, "--interval", "0.2"], {
    onStart(child) {
      let text = "";
      child.stdout.on("data", (chunk) => {
        text += String(chunk);
        if (/speed/.test(text)) child.kill("SIGINT");
      });
    },
  });
  expect(status).toBe(130);
  expect(stdout).toMatch(/\nspeed +0\.0 tok\/s\nlatency +–\nfirst token +–\nprocessors +\d+ % of \d+\n/);
});

test("says what is wrong", async () => {
  const cases: [string, RegExp][] = [
    ["http://127.0.0.1:9", /no server answers there/],
    ["nonsense", /this is no URL/],
  ];
  for (const [url, message] of cases) {
    const { status, stderr } = await bitnet(["top", "--url", url, "--once"]);
    expect([status, stderr]).toEqual([1, expect.stringMatching(message)]);
  }
});
