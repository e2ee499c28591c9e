/** Whatever stops a load, at whatever point: its error comes through, and neither memory nor files stay behind. */

import { readdirSync, readlinkSync, realpathSync } from "node:fs";
import { nativeAllocations } from "@bitnet.ts/native";
import { BitNet } from "bitnet.ts";
import { describe, expect, it, vi } from "vitest";
import { tinyModels, usableIsas } from "./tiny-model.ts";

const backends = usableIsas().length > 0 ? (["native", "reference"] as const) : (["reference"] as const);
const path = tinyModels.i2_s;
/** Null where the addon is not built. */
const allocations = () => (backends.length > 1 ? nativeAllocations() : null);

/** Open files of this process that lead to the model; null where the system does not tell. */
function openModelFiles(): number | null {
  if (process.platform !== "linux") return null;
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ""; // the folder that was just read
    }
  });
  return links.filter((link) => link === realpathSync(path)).length;
}

describe.each(backends)("loading with the %s backend", (backend) => {
  it("survives a progress callback that throws at any call", async () => {
    let nCalls = 0;
    const whole = await BitNet.load(path, { backend, onProgress: () => nCalls++ });
    await whole.dispose();
    expect(nCalls).toBeGreaterThan(2);
    const before = { allocations: allocations(), files: openModelFiles() };
    for (let failing = 0; failing < nCalls; failing++) {
      let call = 0;
      const load = BitNet.load(path, {
        backend,
        onProgress: () => {
          if (call++ === failing) throw new RangeError(`call ${failing}`);
        },
      });
      await expect(load).rejects.toThrow(`call ${failing}`);
    }
    expect({ allocations: allocations(), files: openModelFiles() }).toEqual(before);
  });

  it("survives being aborted at any report of progress", async () => {
    const before = { allocations: allocations(), files: openModelFiles() };
    for (const at of [0, 0.3, 0.8, 0.9]) {
      const controller = new AbortController();
      const load = BitNet.load(path, {
        backend,
        signal: controller.signal,
        onProgress: (fraction) => {
          if (fraction >= at) controller.abort();
        },
      });
      await expect(load).rejects.toMatchObject({ name: "AbortError" });
    }
    expect({ allocations: allocations(), files: openModelFiles() }).toEqual(before);
  });
});

/** Of this process; null where the system does not tell. */
function countThreads(): number | null {
  return process.platform === "linux" ? readdirSync("/proc/self/task").length : null;
}

it("a model in WebAssembly leaves no thread behind, whether it was loaded or not", async () => {
  const loadAndEnd = async () => {
    await (await BitNet.load(path, { backend: "wasm", threads: 2 })).dispose();
    const failing = BitNet.load(path, {
      ...{ backend: "wasm", threads: 2 },
      onProgress: (fraction) => {
        if (fraction > 0.8) throw new RangeError("enough");
      },
    });
    await expect(failing).rejects.toThrow("enough");
  };
  await loadAndEnd();
  const before = countThreads() ?? 0;
  for (let i = 0; i < 3; i++) await loadAndEnd();
  // They end in their own time, after they have been told.
  await vi.waitFor(() => expect(countThreads() ?? 0).toBeLessThanOrEqual(before), 10_000);
});
