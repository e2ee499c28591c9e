/**
 * Keeps web pages of others away from a server on this machine: a name that is rebound to 127.0.0.1 shows in the Host header, a page of
 * another origin in the Origin header.
 */
import { isIP } from "node:net";
import { BitNetError } from "@bitnet.ts/core";
import { ServeError } from "./errors.ts";
import type { ServerSettings } from "./settings.ts";

/** The name in a Host header, without its port. */
function hostName(header: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(header);
  return (bracketed?.[1] ?? header.replace(/:\d+$/, "")).toLowerCase().replace(/\.$/, "");
}

function isLoopbackName(name: string): boolean {
  return name === "localhost" || name.endsWith(".localhost");
}

/** @throws ServeError FORBIDDEN for names that nobody has configured. */
export function checkHost(header: string | undefined, { allowedHosts, host }: ServerSettings): void {
  const name = hostName(header ?? "");
  if (isIP(name) !== 0 || isLoopbackName(name)) return;
  if (
    name !== "" &&
    (allowedHosts.includes(name) || allowedHosts.includes("*") || name === host.toLowerCase())
  )
    return;
  throw new ServeError("FORBIDDEN", "this host name is not served here; allow it with --allow-host");
}

/** Whether the page that asks is one of ours or an allowed one. Requests of programs carry no origin. */
export function isAllowedOrigin(
  origin: string | undefined,
  host: string | undefined,
  { corsOrigins }: ServerSettings,
): boolean {
  if (origin === undefined) return true;
  if (corsOrigins.includes("*") || corsOrigins.includes(origin)) return true;
  try {
    return new URL(origin).host === (host ?? "").toLowerCase();
  } catch {
    return false;
  }
}

/**
 * Origins as browsers send them, also those of extensions and desktop programs: anything else would never match, and whoever runs the server would look for long.
 * @throws BitNetError INVALID_ARGUMENT.
 */
export function checkOrigins(origins: readonly string[]): void {
  const isOrigin = (text: string) =>
    text === "*" || text === "null" || /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s,A-Z]+$/.test(text);
  const wrong = origins.find((text) => !isOrigin(text));
  if (wrong !== undefined)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `server: --cors ${JSON.stringify(wrong.slice(0, 100))}: expected an origin as browsers send it, such as https://app.example (no path, no slash at its end), or *`,
    );
}

/** Addresses that only this machine reaches. */
export function isLoopbackAddress(host: string): boolean {
  return isLoopbackName(host.toLowerCase()) || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
