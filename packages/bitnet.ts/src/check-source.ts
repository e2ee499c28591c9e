/** What `BitNet.load` was given to load: checked before anything is opened or started, and named in errors about it. */
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

/** Errors about the contents of a file often speak of the place in it only. */
export function namingSource(error: unknown, source: string): unknown {
  if (!(error instanceof BitNetError) || error.message.includes(source)) return error;
  if (!/^(FILE|FORMAT|MODEL|TOKENIZER|IO)_/.test(error.code)) return error;
  return new BitNetError(error.code, `${source}: ${error.message}`, { cause: error, details: error.details });
}
