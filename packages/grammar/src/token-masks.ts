/** Masks as the generating thread has them, made after every token by a thread that follows the grammar. */
import type { TokenMask } from "@bitnet.ts/core";
import { maskHeader, maskState } from "./worker-messages.ts";

/** What a mask asks of the thread that makes it. */
export interface MaskLink {
  /** Of the logits, in 32-bit words of a mask. */
  readonly nWords: number;
  readonly hasEnded: boolean;
  accept(token: number): void;
  close(): void;
  /** It does not answer: it is given up. */
  giveUp(): void;
}

/** A mask takes some microseconds, at worst tens of milliseconds; beyond this its thread is given up. */
const deadlineMs = 5000;

/** In memory that both threads have: asking blocks, usually for some microseconds. */
export function sharedMask(link: MaskLink): { mask: TokenMask; shared: SharedArrayBuffer } {
  const { nWords } = link;
  const shared = new SharedArrayBuffer(4 * (maskHeader + nWords));
  const words = new Int32Array(shared);
  const bits = new Uint32Array(shared, 4 * maskHeader);
  const none = new Uint32Array(nWords);
  let nExpected = 1;
  let isOpen = true;
  const mask = {
    allowed: () => (isOpen && awaitMask(link, words, nExpected) && words[1] === maskState.good ? bits : none),
    accept: (token: number) => {
      nExpected++;
      link.accept(token);
    },
    dispose: () => {
      if (isOpen) link.close();
      isOpen = false;
    },
  };
  return { mask, shared };
}

function awaitMask(link: MaskLink, words: Int32Array, nExpected: number): boolean {
  const deadline = performance.now() + deadlineMs;
  for (let n = Atomics.load(words, 0); n < nExpected; n = Atomics.load(words, 0)) {
    if (link.hasEnded) return false;
    if (Atomics.wait(words, 0, n, Math.max(0, deadline - performance.now())) !== "timed-out") continue;
    link.giveUp();
    return false;
  }
  return true;
}

/** Where a mask that is sent arrives. */
export interface SentMask {
  readonly mask: TokenMask;
  /** The next mask; null when the grammar does not take the token, or the thread is gone. */
  receive(bits: Uint32Array | null): void;
}

/** By messages, for threads that may not block: it is to be waited for before it is asked. */
export function sentMask(link: MaskLink): SentMask {
  const none = new Uint32Array(link.nWords);
  let bits: Uint32Array = none;
  let nExpected = 1;
  let isOpen = true;
  let isMade = () => {};
  let waiting: Promise<void> | null = null;
  const wait = async (): Promise<void> => {
    const made = new Promise<void>((resolve) => {
      isMade = resolve;
    });
    const timer = setTimeout(() => link.giveUp(), deadlineMs);
    await made;
    clearTimeout(timer);
  };
  const mask = {
    ready: () => {
      if (!isOpen || nExpected <= 0 || link.hasEnded) return null;
      waiting ??= wait();
      return waiting;
    },
    allowed: () => (isOpen && !link.hasEnded ? bits : none),
    accept: (token: number) => {
      nExpected++;
      link.accept(token);
    },
    dispose: () => {
      if (isOpen) link.close();
      isOpen = false;
      isMade();
    },
  };
  return {
    mask,
    receive(made) {
      nExpected--;
      bits = made === null || made.length !== link.nWords ? none : made;
      if (nExpected !== 0 && made !== null) return;
      waiting = null;
      isMade();
    },
  };
}
