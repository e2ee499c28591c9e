import { expect, it } from "vitest";
import { onAbort } from "./abort.ts";

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
