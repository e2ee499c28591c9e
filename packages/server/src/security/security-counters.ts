/** What was refused and why, in numbers; clients are counted, not kept. Bounded whatever comes. */
import type { ServeCode } from "../errors.ts";

/** Refusals that are about security rather than load or mistakes. */
const counted: ReadonlySet<ServeCode> = new Set<ServeCode>([
  "UNAUTHENTICATED",
  "FORBIDDEN",
  "RATE_LIMIT_EXCEEDED",
  "CONTENT_FILTERED",
  "RESPONSE_FILTERED",
  "INVALID_INPUT",
  "TOO_LARGE",
]);

const minutes = 60;
/** Beyond this many clients their number is a lower bound. */
const maxClients = 100_000;

export interface SecurityReport {
  requests: number;
  unique_clients: number;
  blocked: number;
  blocked_last_hour: number;
  blocked_by_code: Readonly<Record<string, number>>;
  /** Matches of the content filter by rule. */
  filter_matches: Readonly<Record<string, number>>;
  sanitized: number;
}

export class SecurityCounters {
  readonly #clients = new Set<string>();
  readonly #byCode = new Map<ServeCode, number>();
  readonly #byRule = new Map<string, number>();
  readonly #perMinute = new Float64Array(minutes);
  readonly #minuteOf = new Float64Array(minutes).fill(-1);
  readonly #clock: () => number;
  #nRequests = 0;
  #nBlocked = 0;
  #nSanitized = 0;

  /** @param clock Milliseconds, monotonic. */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
  }

  /** @param client Hashed or not, it is only counted. */
  request(client: string): void {
    this.#nRequests++;
    if (this.#clients.size < maxClients) this.#clients.add(client);
  }

  refusal(code: ServeCode): void {
    if (!counted.has(code)) return;
    this.#nBlocked++;
    this.#byCode.set(code, (this.#byCode.get(code) ?? 0) + 1);
    const minute = Math.floor(this.#clock() / 60_000);
    const at = minute % minutes;
    if (this.#minuteOf[at] !== minute) this.#perMinute[at] = 0;
    this.#minuteOf[at] = minute;
    this.#perMinute[at] = (this.#perMinute[at] ?? 0) + 1;
  }

  match(rule: string): void {
    this.#byRule.set(rule, (this.#byRule.get(rule) ?? 0) + 1);
  }

  sanitized(): void {
    this.#nSanitized++;
  }

  report(): SecurityReport {
    const now = Math.floor(this.#clock() / 60_000);
    let lastHour = 0;
    for (let at = 0; at < minutes; at++)
      if ((this.#minuteOf[at] ?? -1) > now - minutes) lastHour += this.#perMinute[at] ?? 0;
    return {
      requests: this.#nRequests,
      unique_clients: this.#clients.size,
      blocked: this.#nBlocked,
      blocked_last_hour: lastHour,
      blocked_by_code: Object.fromEntries(this.#byCode),
      filter_matches: Object.fromEntries(this.#byRule),
      sanitized: this.#nSanitized,
    };
  }
}
