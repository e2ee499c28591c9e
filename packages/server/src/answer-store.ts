/**
 * Keeps the last answers of each tenant for a while, so that clients can refer to them: bounded by number, size and age of all together. Where
 * they are too many, the tenant that holds most gives up its oldest, so that none can drive out another's. Only answers that were finished get here. Answers of other servers are fetched before they are looked for, where servers share them.
 */

export interface StoredAnswer {
  readonly id: string;
  readonly tenant: string;
  /** As it was sent. */
  readonly response: Readonly<Record<string, unknown>> & { readonly output: readonly StoredItem[] };
  /** Everything before it, earlier turns included, then its own output. */
  readonly items: readonly unknown[];
  /** What the client sent for this turn. */
  readonly input: readonly unknown[];
}

export interface StoredItem {
  readonly id: string;
  readonly type: string;
}

const maxAnswers = 1000;
const maxBytes = 64 * 2 ** 20;
/** By one request. */
const maxFetched = 64;
const maxAgeMs = 24 * 3600 * 1000;

/** Where servers keep answers together. */
export interface SharedAnswers {
  /** @returns false for one that is too large. */
  keep(answer: StoredAnswer): boolean;
  /** An answer, or one that holds an item, by its id. Null: there is none; undefined: nobody can tell now. */
  fetch(id: string, tenant: string): Promise<StoredAnswer | null | undefined>;
  delete(answer: StoredAnswer): void;
}

interface Kept {
  readonly answer: StoredAnswer;
  readonly bytes: number;
  readonly at: number;
  /** Whether other servers have it, too, and may have deleted it. */
  readonly isShared: boolean;
}

export class AnswerStore {
  readonly #shared: SharedAnswers | null;

  constructor(shared: SharedAnswers | null = null) {
    this.#shared = shared;
  }

  /** The oldest first. */
  readonly #answers = new Map<string, Kept>();
  /** What each tenant holds. */
  readonly #shares = new Map<string, { answers: number; bytes: number }>();
  #bytes = 0;

  keep(answer: StoredAnswer): void {
    this.#keepHere(answer, this.#shared?.keep(answer) ?? false);
  }

  /** Gets answers of other servers here, by their ids or those of their items, so that they can be found. */
  async fetch(ids: readonly string[], tenant: string): Promise<void> {
    if (this.#shared === null) return;
    for (const id of ids.slice(0, maxFetched)) {
      const answer = await this.#shared.fetch(id, tenant);
      const here = this.#answers.get(answer?.id ?? id);
      if (answer === null && here?.isShared === true) this.#remove(here);
      if (answer && answer.tenant === tenant && here === undefined) this.#keepHere(answer, true);
    }
  }

  #keepHere(answer: StoredAnswer, isShared: boolean): void {
    const bytes = 2 * JSON.stringify(answer).length;
    const before = this.#answers.get(answer.id);
    if (before !== undefined) this.#remove(before);
    this.#answers.set(answer.id, { answer, bytes, at: Date.now(), isShared });
    this.#count(answer.tenant, 1, bytes);
    for (const each of this.#answers.values()) {
      if (Date.now() - each.at <= maxAgeMs) break;
      this.#remove(each);
    }
    while (this.#answers.size > maxAnswers || this.#bytes > maxBytes) {
      const oldest = this.#oldestOf(this.#largestTenant());
      if (oldest === undefined) return;
      this.#remove(oldest);
    }
  }

  #count(tenant: string, answers: number, bytes: number): void {
    const share = this.#shares.get(tenant) ?? { answers: 0, bytes: 0 };
    const next = { answers: share.answers + answers, bytes: share.bytes + bytes };
    if (next.answers === 0) this.#shares.delete(tenant);
    else this.#shares.set(tenant, next);
    this.#bytes += bytes;
  }

  #largestTenant(): string | undefined {
    let largest: string | undefined;
    let most = -1;
    for (const [tenant, { answers, bytes }] of this.#shares) {
      const share = Math.max(answers / maxAnswers, bytes / maxBytes);
      if (share > most) [largest, most] = [tenant, share];
    }
    return largest;
  }

  #oldestOf(tenant: string | undefined): Kept | undefined {
    for (const each of this.#answers.values()) if (each.answer.tenant === tenant) return each;
    return undefined;
  }

  find(id: string, tenant: string): StoredAnswer | undefined {
    const found = this.#answers.get(id);
    if (found === undefined || found.answer.tenant !== tenant) return undefined;
    return Date.now() - found.at > maxAgeMs ? undefined : found.answer;
  }

  /** An item of some answer of the tenant. */
  findItem(id: string, tenant: string): StoredItem | undefined {
    for (const { answer } of this.#answers.values()) {
      if (answer.tenant !== tenant) continue;
      const item = answer.response.output.find((each) => each.id === id);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  /** @returns Whether there was one. */
  delete(id: string, tenant: string): boolean {
    const found = this.#answers.get(id);
    if (found === undefined || found.answer.tenant !== tenant) return false;
    this.#shared?.delete(found.answer);
    this.#remove(found);
    return true;
  }

  #remove({ answer, bytes }: Kept): void {
    this.#answers.delete(answer.id);
    this.#count(answer.tenant, -1, -bytes);
  }
}
