/**
 * Loads a Program into the addon. Files are mapped and computed on in place. Bytes on a SharedArrayBuffer are used in place, too, since
 * nothing can detach them; other bytes are copied slice by slice, because an ArrayBuffer may be transferred away at any time.
 */
import { setImmediate } from "node:timers/promises";
import { types } from "node:util";
import {
  BitNetError,
  decodeNumbers,
  EngineExecutable,
  type EngineOptions,
  type EnginePort,
  encodeLimits,
  encodeProgram,
  engineError,
  engineOperations,
  fitProgram,
  type LoadOptions,
  type Program,
  throwIfAborted,
  validateProgram,
} from "@bitnet.ts/core";
import type { NativeBinding, NativeHandle } from "./binding.ts";
import { callNative } from "./native-error.ts";

/** Copied at a time: a few milliseconds of the JavaScript thread. */
const sliceBytes = 2 ** 23;
/** Share of the progress that mapping and widening count for. */
const finishShare = 0.1;

export interface LoadTarget extends EngineOptions {
  binding: NativeBinding;
  isa: string;
}

export async function loadExecutable(
  { binding, isa, ...engineOptions }: LoadTarget,
  program: Program,
  options: LoadOptions,
): Promise<EngineExecutable> {
  throwIfAborted(options.signal);
  validateProgram(program);
  const fitted = fitProgram(program, "native", engineOperations);
  const limits = encodeLimits(options, engineOptions);
  const { words, scales, paths } = encodeProgram(fitted);
  const handle = callNative(() => binding.create(isa, words, scales, paths, limits));
  try {
    await fillSources(binding, handle, fitted, options);
    const failure = await binding.finish(handle);
    if (failure) throw engineError("native", failure, fitted);
    throwIfAborted(options.signal);
    options.onProgress?.(1);
  } catch (error) {
    binding.dispose(handle);
    throw error;
  }
  return new EngineExecutable("native", portOf(binding, handle), fitted, options);
}

function portOf(binding: NativeBinding, handle: NativeHandle): EnginePort {
  return {
    run: (words) => callNative(() => binding.run(handle, words)),
    releasePages: (pages) => callNative(() => binding.releasePages(handle, pages)),
    numbers: () => decodeNumbers(callNative(() => binding.memory(handle))),
    dispose: () => callNative(() => binding.dispose(handle)),
  };
}

async function fillSources(
  binding: NativeBinding,
  handle: NativeHandle,
  program: Program,
  { onProgress, signal }: LoadOptions,
): Promise<void> {
  const copied: { index: number; name: string; bytes: Uint8Array; size: number }[] = [];
  const used = sourcesInUse(program);
  program.sources.forEach((source, index) => {
    if (source.kind !== "bytes" || !used.has(index)) return;
    const { bytes, name } = source;
    if (types.isSharedArrayBuffer(bytes.buffer)) {
      callNative(() => binding.shareSource(handle, index, bytes));
    } else {
      copied.push({ index, name, bytes, size: bytes.byteLength });
    }
  });
  const total = copied.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  let sinceYield = 0;
  for (const { index, name, bytes, size } of copied) {
    for (let from = 0; from < size; from += sliceBytes) {
      if (bytes.byteLength !== size) {
        throw new BitNetError(
          "INVALID_ARGUMENT",
          `load: the bytes of "${name}" were taken away while they were read`,
        );
      }
      const slice = bytes.subarray(from, from + sliceBytes);
      callNative(() => binding.fillSource(handle, index, from, slice));
      done += slice.byteLength;
      sinceYield += slice.byteLength;
      // Many small sources make one slice.
      if (sinceYield < sliceBytes) continue;
      sinceYield = 0;
      onProgress?.((done / total) * (1 - finishShare));
      await setImmediate();
      throwIfAborted(signal);
    }
  }
}

function sourcesInUse(program: Program): Set<number> {
  return new Set(
    program.buffers.flatMap((buffer) => (buffer.class === "weight" ? [buffer.tensor.source] : [])),
  );
}
