import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { onAbort, pause } from "./abort.ts";

it("serves hundreds with one listener, and each of them once", async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);
  try {
    const controller = new AbortController();
    let nCalls = 0;
    const ends = Array.from({ length: 300 }, () => onAbort(controller.signal, () => nCalls++));
    ends[7]?.();
    await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    controller.abort();
    expect(nCalls).toBe(299);
    onAbort(controller.signal, () => nCalls++);
    expect(nCalls).toBe(300);
    expect(warnings).toEqual([]);
  } finally {
    process.off("warning", onWarning);
  }
});

describe("a pause", () => {
  const longMs = 2 ** 30;

  it("ends with its signal, whether that fires before or meanwhile", async () => {
    await pause(longMs, AbortSignal.abort());
    const controller = new AbortController();
    const ended = pause(longMs, controller.signal);
    controller.abort();
    await ended;
  });

  it("ends by itself, and leaves the signal alone", async () => {
    const { signal } = new AbortController();
    await pause(1, signal);
    await pause(1, undefined);
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });
});
