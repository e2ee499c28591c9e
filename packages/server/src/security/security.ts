/** What guards a server beyond keys and limits: the content filter, sanitising, the audit log, and the counters of all that. */
import { ServeError } from "../errors.ts";
import { AuditLog } from "./audit-log.ts";
import { type FilterRule, readFilterRules } from "./filter-rules.ts";
import { readSanitizePatterns, sanitizeText } from "./sanitize.ts";
import { secretRules } from "./secret-rules.ts";
import { SecurityCounters } from "./security-counters.ts";
import type { SecuritySettings } from "./settings.ts";
import { screenText, TextScreen } from "./text-screen.ts";

/** What is to be known of a request and its answer. */
export interface Watched {
  readonly id: string;
  readonly client: { readonly id: string };
  /** What it has failed with, if it has. */
  readonly failure: ServeError | null;
  readonly reply: { readonly statusCode: number };
  readonly tokens: { readonly prompt_tokens: number; readonly completion_tokens: number };
}

/** What the log says about one request beyond its end. */
export interface AuditNotes {
  readonly rules: string[];
  readonly prompts: string[];
  readonly answers: string[];
}

/** Characters of a request's texts in the log, where they are asked for. */
const maxNotedCharacters = 65_536;

export class Security {
  readonly counters = new SecurityCounters();
  readonly audit: AuditLog | null;
  readonly #input: readonly FilterRule[];
  readonly #output: readonly FilterRule[];
  readonly #sanitize: ((text: string) => string | null) | null;
  readonly #notes = new WeakMap<Watched, AuditNotes>();

  private constructor(
    rules: readonly FilterRule[],
    sanitize: ((text: string) => string | null) | null,
    audit: AuditLog | null,
  ) {
    this.#input = rules.filter(({ onInput }) => onInput);
    this.#output = rules.filter(({ onOutput }) => onOutput);
    this.#sanitize = sanitize;
    this.audit = audit;
  }

  /** @throws BitNetError for rules or a log that cannot be used. */
  static async open(settings: SecuritySettings, log: (line: string) => void): Promise<Security> {
    const rules = [
      ...(settings.filtersSecrets ? secretRules : []),
      ...(settings.filterFile === null ? [] : await readFilterRules(settings.filterFile)),
    ];
    const patterns =
      settings.sanitizeFile === null ? undefined : await readSanitizePatterns(settings.sanitizeFile);
    const audit = settings.audit === null ? null : await AuditLog.open(settings.audit, log);
    const sanitize = settings.sanitizes ? (text: string) => sanitizeText(text, patterns) : null;
    return new Security(rules, sanitize, audit);
  }

  /** Whether answers are filtered: then tokens, whose texts would give away what is held back, are not shown. */
  get hidesTokens(): boolean {
    return this.#output.some(({ severity }) => severity !== "flag");
  }

  get configuration(): object {
    return {
      filter_rules: { input: this.#input.length, output: this.#output.length },
      sanitizing: this.#sanitize !== null,
      audit: this.audit === null ? null : { with_texts: this.audit.withTexts, dropped: this.audit.dropped },
    };
  }

  get changesInput(): boolean {
    return this.#sanitize !== null || this.#input.length > 0 || this.audit?.withTexts === true;
  }

  /**
   * A text of a client as the model may see it.
   * @throws ServeError CONTENT_FILTERED
   */
  input(exchange: Watched, text: string): string {
    let clean: string | null = text;
    if (this.#sanitize !== null) {
      clean = this.#sanitize(text);
      if (clean !== text) this.counters.sanitized();
      if (clean === null)
        throw new ServeError("INVALID_INPUT", "the text cannot be freed of scripts; it nests them too deep");
    }
    if (this.audit?.withTexts) this.notesOf(exchange).prompts.push(clean.slice(0, maxNotedCharacters));
    return screenText(this.#input, clean, (rule) => {
      this.#match(exchange, rule);
      if (rule.severity === "block")
        throw new ServeError("CONTENT_FILTERED", "the request was refused by the content filter");
    });
  }

  /** For one answer; its `push` and `end` throw RESPONSE_FILTERED. Null where nothing looks at answers. */
  output(exchange: Watched): Pick<TextScreen, "push" | "end"> | null {
    const isNoted = this.audit?.withTexts === true;
    if (this.#output.length === 0 && !isNoted) return null;
    const screen = new TextScreen(this.#output, (rule) => {
      this.#match(exchange, rule);
      if (rule.severity === "block")
        throw new ServeError("RESPONSE_FILTERED", "the answer was withheld by the content filter");
    });
    if (!isNoted) return screen;
    const { answers } = this.notesOf(exchange);
    const at = answers.push("") - 1;
    const noted = (text: string) => {
      answers[at] = ((answers[at] ?? "") + text).slice(0, maxNotedCharacters);
      return text;
    };
    return { push: (text) => noted(screen.push(text)), end: () => noted(screen.end()) };
  }

  notesOf(exchange: Watched): AuditNotes {
    const notes = this.#notes.get(exchange) ?? { rules: [], prompts: [], answers: [] };
    this.#notes.set(exchange, notes);
    return notes;
  }

  /** A request that has reached its route, and how it ended. */
  ended(exchange: Watched, route: string, ms: number): void {
    const { client, failure, reply, id } = exchange;
    this.counters.request(client.id);
    if (failure !== null) this.counters.refusal(failure.code);
    if (this.audit === null) return;
    const { rules, prompts, answers } = this.notesOf(exchange);
    this.audit.write({
      event: "request",
      request: id,
      client: this.audit.hash(client.id),
      route,
      status: failure?.status ?? reply.statusCode,
      code: failure?.code ?? null,
      ms: Math.round(ms),
      ...exchange.tokens,
      ...(rules.length > 0 ? { rules: [...new Set(rules)] } : {}),
      ...(this.audit.withTexts ? { prompts, answers } : {}),
    });
  }

  /** A request that did not get as far. @param address Of the client, which has not said who it is. */
  refused(error: ServeError, request: { id: string; address: string; route: string }): void {
    this.counters.refusal(error.code);
    this.audit?.write({
      event: "refused",
      request: request.id,
      client: this.audit.hash(request.address),
      route: request.route,
      status: error.status,
      code: error.code,
    });
  }

  #match(exchange: Watched, rule: FilterRule): void {
    this.counters.match(rule.name);
    const { rules } = this.notesOf(exchange);
    if (rules.length < 1000) rules.push(rule.name);
  }
}
