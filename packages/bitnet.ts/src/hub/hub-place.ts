/** The address of a hub and the token for it, checked. Knows no environment. */
import { BitNetError } from "@bitnet.ts/core";

export const defaultEndpoint = "https://huggingface.co";

/** @throws BitNetError INVALID_ARGUMENT. */
export function parseEndpoint(text: string, from: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isPlain =
    url !== null && url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (url !== null && isPlain && /^https?:$/.test(url.protocol))
    return (url.origin + url.pathname).replace(/\/+$/, "");
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${from} is ${JSON.stringify(text.slice(0, 100))}, expected an address such as https://huggingface.co`,
  );
}

/** @throws BitNetError INVALID_ARGUMENT for what could not stand in a header. The message does not repeat it. */
export function checkToken(token: string, from: string): string {
  const trimmed = token.trim();
  if (/^[\x21-\x7e]{1,512}$/.test(trimmed)) return trimmed;
  throw new BitNetError("INVALID_ARGUMENT", `${from}: expected a token such as hf_…, found something else`);
}
