import { setMaxListeners } from "node:events";
import { expect, it } from "vitest";
import { Admission } from "./admission.ts";

const limits = { parallel: 2, maxQueued: 3, maxQueuedBytes: 1000, queueTimeoutMs: 60_000 };
const { signal } = new AbortController();
setMaxListeners(0, signal);
const settled = async () => {
  for (let i = 0; i < 5; i++) await Promise.resolve();
};

/** Enters, and notes under a name when it has its place. */
function enter(admission: Admission, order: string[], name: string, isBackground = false) {
  const entered = admission.enter(1, signal, { isBackground });
  void entered.then(() => order.push(name));
  return entered;
}

it("gives places in order of arrival, and refuses when too many wait", async () => {
  const admission = new Admission(limits);
  const order: string[] = [];
  const first = await enter(admission, order, "a");
  for (const name of ["b", "c", "d", "e"]) void enter(admission, order, name);
  await settled();
  expect(order).toEqual(["a", "b"]);
  await expect(admission.enter(1, signal)).rejects.toMatchObject({ code: "QUEUE_FULL" });
  first.release();
  first.release();
  await settled();
  expect(order).toEqual(["a", "b", "c"]);
});

it("work in the background takes what is left and holds up nobody", async () => {
  const admission = new Admission(limits);
  const order: string[] = [];
  const lines = [enter(admission, order, "line 1", true), enter(admission, order, "line 2", true)];
  void enter(admission, order, "line 3", true);
  await settled();
  expect(order).toEqual(["line 1", "line 2"]);
  // Both places are taken by lines, and still nobody waits.
  const ask = [enter(admission, order, "a"), enter(admission, order, "b")];
  void enter(admission, order, "c");
  await settled();
  expect(order).toEqual(["line 1", "line 2", "a", "b"]);
  expect(admission.stats).toMatchObject({ running: 2, background: 2, queued: 1 });
  (await lines[0])?.release();
  (await lines[1])?.release();
  await settled();
  expect(order).toHaveLength(4);
  (await ask[0])?.release();
  await settled();
  expect(order.at(-1)).toBe("c");
  (await ask[1])?.release();
  await settled();
  expect(order.at(-1)).toBe("line 3");
});

it("beside others, the background has a quarter of what is left", async () => {
  const admission = new Admission({ ...limits, parallel: 9 });
  const order: string[] = [];
  const ticket = await enter(admission, order, "a");
  for (let i = 0; i < 12; i++) void enter(admission, order, `line ${i}`, true);
  await settled();
  expect(admission.stats).toMatchObject({ running: 1, background: 2 });
  ticket.release();
  await settled();
  expect(admission.stats).toMatchObject({ running: 0, background: 9 });
});

it("waits in the background for as long as it takes, or until it is told to stop", async () => {
  const admission = new Admission({ ...limits, queueTimeoutMs: 0, maxQueued: 0 });
  const tickets = [await admission.enter(1, signal), await admission.enter(1, signal)];
  const controller = new AbortController();
  const waiting = admission.enter(1, controller.signal, { isBackground: true });
  let isIdle = false;
  void admission.idle().then(() => {
    isIdle = true;
  });
  controller.abort();
  await expect(waiting).rejects.toMatchObject({ code: "ABORTED" });
  for (const ticket of tickets) ticket.release();
  await settled();
  expect([isIdle, admission.stats.background]).toEqual([true, 0]);
});

it("tokens that wait are counted until their turn, their leaving or the end of their patience", async () => {
  const admission = new Admission({ ...limits, parallel: 1, queueTimeoutMs: 0 });
  const ticket = await admission.enter(1, signal, { tokens: 1000 });
  expect(admission.stats.queuedTokens).toBe(0);
  const controller = new AbortController();
  const leaving = admission.enter(1, controller.signal, { tokens: 20 });
  const impatient = admission.enter(1, signal, { tokens: 3 });
  expect(admission.stats.queuedTokens).toBe(23);
  controller.abort();
  await expect(leaving).rejects.toMatchObject({ code: "ABORTED" });
  expect(admission.stats.queuedTokens).toBe(3);
  await expect(impatient).rejects.toMatchObject({ code: "QUEUE_FULL" });
  expect(admission.stats.queuedTokens).toBe(0);
  const next = new Admission({ ...limits, parallel: 1, queueTimeoutMs: 10_000 });
  const first = await next.enter(1, signal, { tokens: 5 });
  const second = next.enter(1, signal, { tokens: 7 });
  expect(next.stats.queuedTokens).toBe(7);
  first.release();
  await second;
  expect(next.stats.queuedTokens).toBe(0);
  ticket.release();
});

it("refuses at once whom it could not serve in time, as turns have been coming", async () => {
  let now = 0;
  const admission = new Admission({ ...limits, parallel: 1, maxQueued: 50, queueTimeoutMs: 2500 }, () => now);
  let running = await admission.enter(1, signal);
  const nextTurn = async (entered = waiting.shift()) => {
    now += 100;
    running.release();
    running = (await entered) ?? running;
  };
  const waiting = Array.from({ length: 24 }, () => admission.enter(1, signal));
  // Turns that came too seldom to say anything.
  for (let i = 0; i < 3; i++) await nextTurn();
  for (let i = 0; i < 5; i++) waiting.push(admission.enter(1, signal));
  await nextTurn();
  // 25 wait, and one more would wait for 26 turns of some 100 ms each: (400 - 100) / 4 for the one that has just come.
  now += 100;
  await expect(admission.enter(1, signal)).rejects.toMatchObject({ code: "QUEUE_FULL" });
  for (let i = 0; i < 6; i++) await nextTurn();
  const inTime = admission.enter(1, signal);
  expect(admission.stats).toMatchObject({ queued: 20, refused: 1 });
  // Once nobody waits, what was is forgotten.
  for (const entered of [...waiting, inTime]) await nextTurn(entered);
  running.release();
  await admission.enter(1, signal);
  now += 1e6;
  void admission.enter(1, signal);
  expect(admission.stats).toMatchObject({ running: 1, queued: 1, refused: 1 });
});

it("tenants have turns one after the other, each in order of arrival", async () => {
  const admission = new Admission({ ...limits, parallel: 1, maxQueued: 8 });
  const order: string[] = [];
  const running = await admission.enter(1, signal);
  const all = ["a1", "a2", "a3", "b1", "c1", "b2"].map(async (name) => {
    const ticket = await admission.enter(1, signal, { tenant: name.slice(0, 1) });
    order.push(name);
    ticket.release();
  });
  running.release();
  await Promise.all(all);
  expect(order).toEqual(["a1", "b1", "c1", "a2", "b2", "a3"]);
});

it("a tenant that fills the queue gives its youngest up for those who have less, until all have the same", async () => {
  const admission = new Admission({ ...limits, parallel: 1, maxQueued: 6, maxQueuedBytes: 10 });
  const order: string[] = [];
  const running = await admission.enter(1, signal);
  const enters = async (name: string, bytes = 1) => {
    try {
      const ticket = await admission.enter(bytes, signal, { tenant: name.slice(0, 1) });
      order.push(name);
      ticket.release();
    } catch {
      order.push(`no ${name}`);
    }
  };
  const all = ["a1", "a2", "a3", "a4", "a5", "a6", "a7"].map((name) => enters(name));
  await settled();
  expect(order).toEqual(["no a7"]);
  all.push(...["b1", "b2", "b3", "b4"].map((name) => enters(name)));
  await settled();
  expect(new Set(order)).toEqual(new Set(["no a7", "no a6", "no a5", "no a4", "no b4"]));
  // Bytes are shared likewise: one body that is larger than what anybody else has waiting drives nobody out.
  all.push(enters("c1", 7));
  await settled();
  expect(order.at(-1)).toBe("no c1");
  expect(admission.stats).toMatchObject({ queued: 6, queuedBytes: 6, refused: 6 });
  order.length = 0;
  running.release();
  await Promise.all(all);
  expect(order).toEqual(["a1", "b1", "a2", "b2", "a3", "b3"]);
  expect(admission.stats).toMatchObject({ running: 0, queued: 0, queuedBytes: 0 });
});
