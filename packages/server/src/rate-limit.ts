/**
 * Limits per client over a sliding minute, on requests and on tokens, and on requests at once. Tokens are reserved before an answer is
 * begun and given back when it needed fewer. Where several servers keep the limits together, they are asked first; while they cannot be,
 * this server's own count decides. Knows nothing of HTTP.
 */
import { ServeError } from "./errors.ts";
import type { KeyLimits } from "./key-store.ts";
import type { SharedLimits } from "./store/shared-limits.ts";

const windowSeconds = 60;
/** Clients without a key are known by address; so many are remembered. */
const maxClients = 10_000;

/** What was spent in each of the last sixty seconds. */
class Window {
  readonly #spent = new Float64Array(windowSeconds);
  readonly #seconds = new Float64Array(windowSeconds).fill(-1);

  add(second: number, amount: number): void {
    const at = second % windowSeconds;
    if (this.#seconds[at] !== second) {
      if ((this.#seconds[at] ?? -1) > second) return; // given back too late to matter
      this.#seconds[at] = second;
      this.#spent[at] = 0;
    }
    this.#spent[at] = Math.max(0, (this.#spent[at] ?? 0) + amount);
  }

  sum(now: number): number {
    let sum = 0;
    for (let at = 0; at < windowSeconds; at++)
      if ((this.#seconds[at] ?? -1) > now - windowSeconds) sum += this.#spent[at] ?? 0;
    return sum;
  }

  /** Seconds until no more than `allowed` is left in the window. */
  waitFor(now: number, allowed: number): number {
    let left = this.sum(now);
    for (let age = windowSeconds - 1; age >= 0; age--) {
      if (left <= allowed) return windowSeconds - 1 - age;
      const second = now - age;
      const at = ((second % windowSeconds) + windowSeconds) % windowSeconds;
      if (this.#seconds[at] === second) left -= this.#spent[at] ?? 0;
    }
    return windowSeconds;
  }
}

export interface Usage {
  requests: number;
  refused: number;
  prompt_tokens: number;
  completion_tokens: number;
}

/** One client's account. */
export class Account {
  readonly limits: KeyLimits;
  readonly usage: Usage = { requests: 0, refused: 0, prompt_tokens: 0, completion_tokens: 0 };
  readonly #requests = new Window();
  readonly #tokens = new Window();
  readonly #clock: () => number;
  readonly #shared: { readonly id: string; readonly limits: SharedLimits } | null;
  /** What the servers have left together, as they last said. */
  readonly #left: { requests?: number; tokens?: number } = {};
  #nOpen = 0;

  /** @param clock Seconds, monotonic. @param shared Limits kept together with other servers, and the client's name there. */
  constructor(
    limits: KeyLimits,
    clock: () => number = () => performance.now() / 1000,
    shared: { readonly id: string; readonly limits: SharedLimits } | null = null,
  ) {
    this.limits = limits;
    this.#shared = shared;
    this.#clock = () => Math.floor(clock());
  }

  get isIdle(): boolean {
    return this.#nOpen === 0 && this.#requests.sum(this.#clock()) === 0;
  }

  /**
   * Counts a request. @returns To be called when it has ended.
   * @throws ServeError RATE_LIMIT_EXCEEDED
   */
  open(): () => void {
    const now = this.#clock();
    const { requestsPerMinute, concurrent } = this.limits;
    if (concurrent !== undefined && this.#nOpen >= concurrent)
      this.#refuse(`at most ${concurrent} requests at once are allowed`, 1);
    if (requestsPerMinute !== undefined && this.#requests.sum(now) + 1 > requestsPerMinute)
      this.#refuse(
        `at most ${requestsPerMinute} requests a minute are allowed`,
        this.#requests.waitFor(now, requestsPerMinute - 1),
      );
    this.#requests.add(now, 1);
    this.usage.requests++;
    this.#nOpen++;
    let isOpen = true;
    return () => {
      if (isOpen) this.#nOpen--;
      isOpen = false;
    };
  }

  /** `open`, after all servers together have agreed. */
  async openShared(): Promise<() => void> {
    const { requestsPerMinute, concurrent } = this.limits;
    const shared = this.#shared;
    if (shared === null) return this.open();
    const place = concurrent === undefined ? undefined : await shared.limits.enter(shared.id, concurrent);
    if (place === null && concurrent !== undefined)
      this.#refuse(`at most ${concurrent} requests at once are allowed`, 1);
    try {
      if (requestsPerMinute !== undefined) {
        const verdict = await shared.limits.countRequest(shared.id, requestsPerMinute);
        if (verdict !== undefined) this.#left.requests = verdict.left;
        else delete this.#left.requests;
        if (verdict !== undefined && verdict.waitSeconds > 0)
          this.#refuse(`at most ${requestsPerMinute} requests a minute are allowed`, verdict.waitSeconds);
      }
      const close = this.open();
      return () => {
        close();
        place?.leave();
      };
    } catch (error) {
      place?.leave();
      throw error;
    }
  }

  /** `reserve`, after all servers together have agreed. */
  async reserveShared(nTokens: number): Promise<(nUsed: number) => void> {
    const { tokensPerMinute } = this.limits;
    const shared = this.#shared;
    if (shared === null || tokensPerMinute === undefined || nTokens > tokensPerMinute)
      return this.reserve(nTokens);
    const { verdict, giveBack } = await shared.limits.reserveTokens(shared.id, nTokens, tokensPerMinute);
    if (verdict !== undefined) this.#left.tokens = verdict.left;
    else delete this.#left.tokens;
    if (verdict !== undefined && verdict.waitSeconds > 0)
      this.#refuse(`at most ${tokensPerMinute} tokens a minute are allowed`, verdict.waitSeconds);
    try {
      const settle = this.reserve(nTokens);
      return (nUsed) => {
        settle(nUsed);
        giveBack(nTokens - nUsed);
      };
    } catch (error) {
      giveBack(nTokens);
      throw error;
    }
  }

  /**
   * Reserves tokens. @returns Takes how many were used in the end.
   * @throws ServeError RATE_LIMIT_EXCEEDED; INVALID_INPUT where no wait would help.
   */
  reserve(nTokens: number): (nUsed: number) => void {
    const now = this.#clock();
    const { tokensPerMinute } = this.limits;
    if (tokensPerMinute !== undefined) {
      if (nTokens > tokensPerMinute)
        throw new ServeError(
          "INVALID_INPUT",
          `the request may take ${nTokens} tokens, but ${tokensPerMinute} a minute are allowed; ask for fewer`,
          { param: "max_tokens" },
        );
      if (this.#tokens.sum(now) + nTokens > tokensPerMinute)
        this.#refuse(
          `at most ${tokensPerMinute} tokens a minute are allowed`,
          this.#tokens.waitFor(now, tokensPerMinute - nTokens),
        );
    }
    this.#tokens.add(now, nTokens);
    let isSettled = false;
    return (nUsed) => {
      if (!isSettled) this.#tokens.add(now, Math.min(0, nUsed - nTokens));
      isSettled = true;
    };
  }

  /** OpenAI's headers; only for limits that there are. */
  headers(): Record<string, string> {
    const now = this.#clock();
    const { requestsPerMinute, tokensPerMinute } = this.limits;
    const headers: Record<string, string> = {};
    const add = (what: "requests" | "tokens", limit: number | undefined, window: Window) => {
      if (limit === undefined) return;
      headers[`x-ratelimit-limit-${what}`] = String(limit);
      headers[`x-ratelimit-remaining-${what}`] = String(
        this.#left[what] ?? Math.max(0, limit - window.sum(now)),
      );
      headers[`x-ratelimit-reset-${what}`] = `${window.waitFor(now, 0)}s`;
    };
    add("requests", requestsPerMinute, this.#requests);
    add("tokens", tokensPerMinute, this.#tokens);
    return headers;
  }

  #refuse(message: string, seconds: number): never {
    this.usage.refused++;
    const jitter = Math.random() * 500;
    throw new ServeError("RATE_LIMIT_EXCEEDED", message, {
      retryAfterMs: Math.max(1, seconds) * 1000 + jitter,
    });
  }
}

/** The accounts of all clients, by key or address. */
export class Accounts {
  readonly #accounts = new Map<string, Account>();
  readonly #shared: SharedLimits | null;

  /** @param shared Limits kept together with other servers. */
  constructor(shared: SharedLimits | null = null) {
    this.#shared = shared;
  }

  of(id: string, limits: KeyLimits): Account {
    const known = this.#accounts.get(id);
    if (known !== undefined && JSON.stringify(known.limits) === JSON.stringify(limits)) return known;
    if (this.#accounts.size >= maxClients) this.#forget();
    const shared = this.#shared === null ? null : { id, limits: this.#shared };
    const account = new Account(limits, undefined, shared);
    this.#accounts.set(id, account);
    return account;
  }

  #forget(): void {
    for (const [id, account] of this.#accounts) if (account.isIdle) this.#accounts.delete(id);
    const [oldest] = this.#accounts.keys();
    if (this.#accounts.size >= maxClients && oldest !== undefined) this.#accounts.delete(oldest);
  }
}
