/**
 * Requests that the server makes of itself, such as the lines of a batch: they pass through the same routes as those of clients, but
 * come after them and count against no limit. Each is known by a number that nobody outside can guess.
 */
import { randomUUID } from "node:crypto";
import type { FastifyRequest } from "fastify";
import type { Client } from "../clients.ts";
import { Account } from "../rate-limit.ts";

export const innerHeader = "x-bitnet-inner";

export class InnerClients {
  readonly #open = new Map<string, Client>();

  /** @param signal Ends the request. */
  enter(tenant: string, signal: AbortSignal): { token: string; leave(): void } {
    const token = randomUUID();
    this.#open.set(token, {
      id: "batch",
      tenant,
      name: "batch",
      account: new Account({}),
      background: { signal },
    });
    return { token, leave: () => this.#open.delete(token) };
  }

  find({ headers }: FastifyRequest): Client | null {
    const token = headers[innerHeader];
    return typeof token === "string" ? (this.#open.get(token) ?? null) : null;
  }
}
