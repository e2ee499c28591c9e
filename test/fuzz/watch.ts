/**
 * What a reader may not do although it returns in the end, and what it does when it never returns: allocations out of proportion are noted,
 * and a thread of its own ends the process of the tests, naming the mutant, when one of them makes no progress for minutes. No outcome of a
 * test depends on the clock otherwise.
 */
import { Worker } from "node:worker_threads";
import { vi } from "vitest";

const watched = [
  "Uint8Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float32Array",
  "Float64Array",
] as const;

/** Follows what is made with a length: typed arrays, buffers and lists, in bytes; memory that is never written counts, too. */
export function watchAllocations(): { largest: number; stop(): void } {
  const seen = {
    largest: 0,
    stop() {
      vi.unstubAllGlobals();
    },
  };
  const follow = (name: (typeof watched)[number] | "ArrayBuffer" | "Array", bytesEach: number) => {
    vi.stubGlobal(
      name,
      new Proxy(globalThis[name], {
        construct(target, args, newTarget) {
          const [length] = args as [unknown];
          if (typeof length === "number" && args.length === 1)
            seen.largest = Math.max(seen.largest, length * bytesEach);
          return Reflect.construct(
            target as new () => object,
            args,
            newTarget === globalThis[name] ? target : newTarget,
          );
        },
      }),
    );
  };
  for (const name of watched) follow(name, globalThis[name].BYTES_PER_ELEMENT);
  follow("ArrayBuffer", 1);
  follow("Array", 8);
  return seen;
}

const patienceMs = 120_000;
const labelBytes = 200;

/** Runs in the thread: the label of the mutant at work must change, or the end come, within the patience. */
const watchman = `
  const { workerData } = require("node:worker_threads");
  const { writeSync } = require("node:fs");
  const state = new Int32Array(workerData.shared);
  for (let last = -1; ; ) {
    Atomics.wait(state, 1, 0, workerData.patienceMs);
    if (Atomics.load(state, 1) !== 0) break;
    const now = Atomics.load(state, 0);
    if (now === last) {
      const label = Buffer.from(workerData.shared, 8).toString("utf8").replace(/\\0.*/s, "");
      writeSync(2, "fuzzing: " + label + " hangs\\n");
      process.kill(process.pid, "SIGKILL");
    }
    last = now;
  }
`;

/** @returns `begin` is to be called with every mutant's label. */
export function watchProgress(): { begin(label: string): void; stop(): Promise<unknown> } {
  const shared = new SharedArrayBuffer(8 + labelBytes);
  const state = new Int32Array(shared, 0, 2);
  const label = Buffer.from(shared, 8);
  const worker = new Worker(watchman, { eval: true, workerData: { shared, patienceMs } });
  worker.unref();
  return {
    begin(text) {
      label.fill(0).write(text);
      Atomics.add(state, 0, 1);
    },
    stop() {
      Atomics.store(state, 1, 1);
      Atomics.notify(state, 1);
      return worker.terminate();
    },
  };
}
