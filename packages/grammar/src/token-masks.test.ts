/** Masks that are sent, as a page has them. Those in shared memory are what all of test/grammar.test.ts follows. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { sentMask } from "./token-masks.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function link() {
  const calls: string[] = [];
  const state = { hasEnded: false };
  const made = {
    nWords: 2,
    get hasEnded() {
      return state.hasEnded;
    },
    accept: (token: number) => calls.push(`accept ${token}`),
    close: () => calls.push("close"),
    giveUp: () => {
      calls.push("give up");
      state.hasEnded = true;
    },
  };
  return { made, calls };
}

const bits = (word: number) => Uint32Array.of(word, 0);
const isSettled = async (promise: Promise<void> | null | undefined) =>
  Promise.race([promise?.then(() => true), Promise.resolve(false).then((no) => no)]);

test("is ready when what was asked for has come, and stays so until a token is taken", async () => {
  const { made, calls } = link();
  const { mask, receive } = sentMask(made);
  const first = mask.ready?.();
  expect(mask.ready?.()).toBe(first);
  expect(await isSettled(first)).toBe(false);
  receive(bits(5));
  await first;
  expect(mask.ready?.()).toBe(null);
  expect(mask.allowed()).toEqual(bits(5));
  mask.accept(2);
  const second = mask.ready?.();
  expect(second).toBeInstanceOf(Promise);
  receive(bits(9));
  await second;
  expect(mask.allowed()).toEqual(bits(9));
  mask.dispose();
  mask.dispose();
  expect(calls).toEqual(["accept 2", "close"]);
  vi.runAllTimers();
  expect(calls).toEqual(["accept 2", "close"]); // no deadline is left
});

test("a mask that the grammar refuses, one of another size, and one that has been closed allow nothing", async () => {
  for (const refused of [null, new Uint32Array(0), new Uint32Array(3)]) {
    const { mask, receive } = sentMask(link().made);
    const ready = mask.ready?.();
    receive(refused);
    await ready;
    expect(mask.allowed()).toEqual(bits(0));
  }
  const { mask, receive } = sentMask(link().made);
  receive(bits(7));
  const { mask: open } = sentMask(link().made);
  const ready = open.ready?.();
  open.dispose();
  await ready;
  mask.dispose();
  expect([mask.allowed(), open.allowed()]).toEqual([bits(0), bits(0)]);
});

test("a thread that does not answer is given up", async () => {
  const { made, calls } = link();
  const { mask, receive } = sentMask(made);
  const ready = mask.ready?.();
  await vi.advanceTimersByTimeAsync(4999);
  expect(calls).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(calls).toEqual(["give up"]);
  receive(null); // as the thread does when it ends
  await ready;
  expect(mask.allowed()).toEqual(bits(0));
  expect(mask.ready?.()).toBe(null);
});
