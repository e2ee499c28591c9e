import { afterEach, describe, expect, test, vi } from "vitest";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

describe("nextTask", () => {
  test.each(["with setImmediate", "without it, as in browsers"])("lets timers run, %s", async (where) => {
    if (where.startsWith("without")) vi.stubGlobal("setImmediate", undefined);
    const { nextTask } = await import("./event-loop.ts");
    let hasRun = false;
    const timer = setTimeout(() => {
      hasRun = true;
    }, 0);
    for (let i = 0; i < 1000 && !hasRun; i++) await nextTask();
    clearTimeout(timer);
    expect(hasRun).toBe(true);
  });

  test("is not a microtask", async () => {
    const { nextTask } = await import("./event-loop.ts");
    const order: string[] = [];
    const later = nextTask().then(() => order.push("task"));
    for (let i = 0; i < 10; i++) await Promise.resolve();
    order.push("microtasks");
    await later;
    expect(order).toEqual(["microtasks", "task"]);
  });
});
