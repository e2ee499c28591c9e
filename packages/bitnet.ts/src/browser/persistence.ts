/** Asks the browser to keep what is stored even when room gets short. Only pages may ask, and nobody waits for the answer. */
import type { BitNetLoadOptions } from "../types.ts";

let hasAsked = false;

export function askForPersistence(source: string | URL | Blob, { cache }: BitNetLoadOptions): void {
  if (hasAsked || source instanceof Blob || cache === false) return;
  hasAsked = true;
  navigator.storage?.persist?.().catch(() => {});
}
