/** What happens to the other answers of a request when one of them fails. Found by test/simulation. */
import { EventEmitter } from "node:events";
import type { ServerResponse } from "node:http";
import { BitNetError } from "@bitnet.ts/core";
import type { Generation } from "bitnet.ts";
import { expect, test } from "vitest";
import type { Exchange } from "./exchange.ts";
import { generateAnswers } from "./generating.ts";
import type { Lease } from "./models.ts";
import { StreamWriter } from "./stream-writer.ts";

/** Ends when its signal fires, with what it has until then. */
function endless(signal: AbortSignal): Generation {
  const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
  return {
    result: aborted.then(() => ({ promptTokens: 5, ids: Int32Array.of(1, 2) })),
    [Symbol.asyncIterator]: () => ({ next: () => aborted.then(() => ({ done: true, value: undefined })) }),
  } as unknown as Generation;
}

function failing(): Generation {
  const result = Promise.reject(new BitNetError("BACKEND_FAILED", "broken"));
  return {
    result,
    [Symbol.asyncIterator]: () => ({ next: () => result }),
  } as unknown as Generation;
}

test("tokens of answers that end because another one failed are counted before the request ends", async () => {
  const counted: number[] = [];
  const exchange = {
    signal: new AbortController().signal,
    client: { tenant: "" },
    serving: {
      watching: { activity: { follow: () => ({ token() {}, end() {} }) } },
      security: { hidesTokens: false, output: () => null },
    },
    answers: [],
    throwIfAborted() {},
    countTokens: (nPrompt: number, nCompletion: number) => counted.push(nPrompt + nCompletion),
  } as unknown as Exchange;
  const model = {
    generate: (_: Int32Array, { signal, choice }: { signal: AbortSignal; choice: number }) =>
      choice === 0 ? failing() : endless(signal),
  };
  const plans = [0, 1, 2].map((choice) => ({ ids: Int32Array.of(1), options: { choice } }));
  const running = generateAnswers(exchange, { model } as unknown as Lease, plans, () => {});
  await expect(running).rejects.toThrow("broken");
  expect(counted).toEqual([7, 7]);
});

test("nothing is written to a stream that has ended", async () => {
  const written: string[] = [];
  const raw = Object.assign(new EventEmitter(), {
    destroyed: false,
    writableFinished: true,
    writeHead() {},
    flushHeaders() {},
    write: (text: string) => written.push(text) > 0,
    end: (text: string) => written.push(text),
  });
  const options = { headers: {}, stallMs: 1000, keepAlive: null, keepAliveMs: 1000 };
  const writer = new StreamWriter(raw as unknown as ServerResponse, options);
  await writer.write("a");
  writer.end("z");
  await expect(writer.write("b")).rejects.toMatchObject({ code: "ABORTED" });
  expect(written).toEqual(["a", "z"]);
});
