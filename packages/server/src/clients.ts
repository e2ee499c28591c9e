/** Who asks: a client with a key, or one without where none are wanted, known by its address. */
import type { FastifyRequest } from "fastify";
import { ServeError } from "./errors.ts";
import type { KeyLimits } from "./key-store.ts";
import type { KeyRing } from "./keys.ts";
import type { Account, Accounts } from "./rate-limit.ts";

export interface Client {
  /** That of its key, or its address. */
  readonly id: string;
  /** Separates caches and stored answers of different clients; "" without keys. */
  readonly tenant: string;
  /** The name of the key. */
  readonly name: string;
  readonly account: Account;
  /** The server asks itself, for work that has time: whoever waits for an answer comes first. */
  readonly background?: { readonly signal: AbortSignal };
}

/** The key of a request: a bearer token or `x-api-key`. */
function presentedKey({ headers }: FastifyRequest): string | null {
  const bearer = /^Bearer\s+(\S+)\s*$/i.exec(headers.authorization ?? "")?.[1];
  const own = headers["x-api-key"];
  return bearer ?? (typeof own === "string" && own !== "" ? own : null);
}

/** @throws ServeError UNAUTHENTICATED where keys are wanted and none, or a wrong one, was given. */
export async function identify(
  request: FastifyRequest,
  { keys, accounts, limits }: { keys: KeyRing | null; accounts: Accounts; limits: KeyLimits },
): Promise<Client> {
  if (keys === null) {
    const id = `address ${addressOf(request.ip)}`;
    return { id, tenant: "", name: "anonymous", account: accounts.of(id, limits) };
  }
  const key = presentedKey(request);
  if (key === null)
    throw new ServeError(
      "UNAUTHENTICATED",
      "an API key is needed: send it as a bearer token or as x-api-key",
    );
  const record = await keys.find(key);
  if (record === null) throw new ServeError("UNAUTHENTICATED", "the API key is not valid");
  const own = Object.keys(record.limits).length > 0 ? record.limits : limits;
  return { id: record.id, tenant: record.tenant, name: record.name, account: accounts.of(record.id, own) };
}

/** A household has a whole /64 of IPv6. */
export function addressOf(ip: string): string {
  if (!ip.includes(":") || ip.startsWith("::ffff:")) return ip.replace("::ffff:", "");
  const [head = "", tail] = ip.split("::");
  const front = head.split(":").filter((part) => part !== "");
  const back = tail === undefined ? [] : tail.split(":").filter((part) => part !== "");
  const zeros = new Array<string>(Math.max(0, 8 - front.length - back.length)).fill("0");
  return [...front, ...(tail === undefined ? [] : zeros), ...back].slice(0, 4).join(":");
}
