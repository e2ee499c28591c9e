/**
 * Keeps the last answers of each tenant for a while, so that clients can refer to them: bounded by number, size and age. Only answers
 * that were finished get here.
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
const maxAgeMs = 24 * 3600 * 1000;

export class AnswerStore {
  readonly #answers = new Map<string, { answer: StoredAnswer; bytes: number; at: number }>();
  #bytes = 0;

  keep(answer: StoredAnswer): void {
    const bytes = 2 * JSON.stringify(answer).length;
    this.#answers.set(answer.id, { answer, bytes, at: Date.now() });
    this.#bytes += bytes;
    for (const [id, each] of this.#answers) {
      const isOld = Date.now() - each.at > maxAgeMs;
      if (!isOld && this.#answers.size <= maxAnswers && this.#bytes <= maxBytes) break;
      this.#remove(id, each.bytes);
    }
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
    this.#remove(id, found.bytes);
    return true;
  }

  #remove(id: string, bytes: number): void {
    this.#answers.delete(id);
    this.#bytes -= bytes;
  }
}
