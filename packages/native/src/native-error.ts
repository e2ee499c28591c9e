/** Errors that the addon throws as BitNetErrors: they bear a `code`, which is that of a BitNetError. */
import { BitNetError, type BitNetErrorCode } from "@bitnet.ts/core";

/** Runs a call into the addon. @throws BitNetError */
export function callNative<T>(call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const { code, message } = cause as { code?: unknown; message?: unknown };
    if (typeof code !== "string") throw cause;
    throw new BitNetError(code as BitNetErrorCode, `native: ${String(message)}`, { cause });
  }
}
