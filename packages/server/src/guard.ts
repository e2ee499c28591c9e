/**
 * Keeps web pages of others away from a server on this machine: a name that is rebound to 127.0.0.1 shows in the Host header, a page of
 * another origin in the Origin header.
 */
import { isIP } from "node:net";
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

/** Addresses that only this machine reaches. */
export function isLoopbackAddress(host: string): boolean {
  return isLoopbackName(host.toLowerCase()) || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
