/** The options of `BitNet.load`: which there are, and what values they take. Knows nothing of models. */
import { BitNetError } from "@bitnet.ts/core";
import { foreignOptions } from "#platform";
import { checkBackendName } from "./choose-backend.ts";
import { checkCallbacks, checkKnown, kindOf } from "./known-options.ts";
import type { BitNetLoadOptions } from "./types.ts";

const choices = {
  kvType: ["f16", "f32"],
  activations: ["int8", "int8-token", "int8-groups", "f32"],
  i2sLayout: ["128/32", "64/16", "rows4"],
} as const;

const knownOptions: Readonly<Record<keyof BitNetLoadOptions, true>> = {
  threads: true,
  contextLength: true,
  backend: true,
  isa: true,
  kvType: true,
  activations: true,
  cacheTokens: true,
  screening: true,
  adapters: true,
  adapter: true,
  i2sLayout: true,
  worker: true,
  wasmUrl: true,
  cache: true,
  hub: true,
  onDownload: true,
  onProgress: true,
  onNotice: true,
  signal: true,
};

/** @throws BitNetError INVALID_ARGUMENT. */
export function checkOptions(options: BitNetLoadOptions): void {
  checkKnown("load", options, knownOptions);
  checkCallbacks(options);
  checkBackendName(options.backend);
  for (const name of foreignOptions) {
    if (options[name] !== undefined)
      throw new BitNetError("INVALID_ARGUMENT", `${name}: only browsers have this option`);
  }
  const { threads, contextLength, cacheTokens } = options;
  for (const [name, value] of Object.entries({ threads, contextLength, cacheTokens })) {
    if (value === undefined || (Number.isSafeInteger(value) && value >= 1)) continue;
    throw new BitNetError("INVALID_ARGUMENT", `${name}: expected a positive integer, found ${value}`);
  }
  const { adapters = {} } = options;
  const areAdapters =
    typeof adapters === "object" &&
    adapters !== null &&
    !Array.isArray(adapters) &&
    Object.entries(adapters).every(([name, path]) => name !== "" && typeof path === "string" && path !== "");
  if (!areAdapters)
    throw new BitNetError("INVALID_ARGUMENT", "adapters: expected an object of names and paths");
  const { adapter } = options;
  if (adapter !== undefined && !Object.hasOwn(adapters, adapter))
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `adapter: expected one of the adapters' names, found ${kindOf(adapter)}`,
    );
  for (const name of ["kvType", "i2sLayout", "activations"] as const) {
    const value = options[name];
    if (value === undefined || choices[name].some((choice) => choice === value)) continue;
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${name}: expected one of ${choices[name].join(", ")}, found ${String(value)}`,
    );
  }
}
