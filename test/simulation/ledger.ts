/**
 * What clients have been granted, counted once more: by plain lists of all that ever happened, over whole seconds of a sliding minute.
 * Says whether a grant or a refusal was right.
 */
import type { KeyLimits } from "#server/key-store.ts";

export interface TokenGrant {
  second: number;
  reserved: number;
  /** Known once the request has ended. */
  used: number | null;
}

export class Ledger {
  readonly limits: KeyLimits;
  readonly #opened: number[] = [];
  readonly #grants: TokenGrant[] = [];
  #nOpen = 0;

  constructor(limits: KeyLimits) {
    this.limits = limits;
  }

  /** Null, or why one more request is too many. */
  refusesRequest(second: number): boolean {
    const { requestsPerMinute, concurrent } = this.limits;
    const nRecent = this.#opened.filter((each) => each > second - 60).length;
    return (
      (concurrent !== undefined && this.#nOpen >= concurrent) ||
      (requestsPerMinute !== undefined && nRecent >= requestsPerMinute)
    );
  }

  open(second: number): void {
    this.#opened.push(second);
    this.#nOpen++;
  }

  close(): void {
    this.#nOpen--;
  }

  refusesTokens(second: number, nTokens: number): boolean {
    const { tokensPerMinute } = this.limits;
    return tokensPerMinute !== undefined && this.#spent(second) + nTokens > tokensPerMinute;
  }

  grant(second: number, nTokens: number): TokenGrant {
    const grant = { second, reserved: nTokens, used: null };
    this.#grants.push(grant);
    return grant;
  }

  #spent(second: number): number {
    return this.#grants
      .filter((grant) => grant.second > second - 60)
      .reduce((sum, { used, reserved }) => sum + (used ?? reserved), 0);
  }
}
