/** Checks what `BitNet.load` was given to load, before anything is opened or started. */
import { BitNetError } from "@bitnet.ts/core/base";
import { kindOf } from "./known-options.ts";

/** @throws BitNetError INVALID_ARGUMENT. */
export function checkSource(source: unknown): void {
  if (source instanceof Blob || source instanceof URL || (typeof source === "string" && source !== ""))
    return;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `load: expected the path or URL of a model, or a Blob with one, found ${kindOf(source)}`,
  );
}
