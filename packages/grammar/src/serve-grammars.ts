/**
 * The thread in which grammars are compiled and followed. The compiler is WebAssembly that can run for long or die of its input: its thread may
 * be ended from outside at any time. After every token comes the next mask, in shared memory or as a message. Knows nothing of threads.
 */
import type * as XGrammar from "@mlc-ai/web-xgrammar";
import type { GrammarSpec } from "./grammar-spec.ts";
import { schemaGrammar } from "./schema-grammar.ts";
import { joinGrammars, printGrammar, shareOwnRules } from "./shared-rules.ts";
import {
  type FromWorker,
  maskHeader,
  maskState,
  type ToWorker,
  type WorkerVocabulary,
} from "./worker-messages.ts";

type Library = typeof XGrammar;
type Post = (message: FromWorker, transfer?: ArrayBuffer[]) => void;

/** A grammar that a generation follows, and where its masks go. */
interface Followed {
  readonly id: number;
  readonly matcher: XGrammar.GrammarMatcher;
  readonly shared: Int32Array | null;
}

/** @returns What handles messages, one after the other although the compiler's interface is asynchronous. */
export function serveGrammars(loadLibrary: () => Library, post: Post): (message: ToWorker) => void {
  const grammars = new Grammars(loadLibrary, post);
  let last: Promise<void> = Promise.resolve();
  return (message) => {
    last = last
      .then(() => grammars.handle(message))
      .catch((error: unknown) => {
        const text = (error instanceof Error ? error.message : String(error)).slice(0, 500);
        if (message.type === "start") post({ type: "started", error: text });
        if (message.type === "compile") post({ type: "compiled", id: message.id, error: text });
      });
  };
}

class Grammars {
  readonly #loadLibrary: () => Library;
  readonly #post: Post;
  #library: Library | null = null;
  #compiler: XGrammar.GrammarCompiler | null = null;
  readonly #compiled = new Map<string, XGrammar.CompiledGrammar>();
  readonly #followed = new Map<number, Followed>();

  constructor(loadLibrary: () => Library, post: Post) {
    this.#loadLibrary = loadLibrary;
    this.#post = post;
  }

  async handle(message: ToWorker): Promise<void> {
    switch (message.type) {
      case "start":
        return this.#start(message.vocabulary);
      case "compile": {
        const grammar = await grammarOf(this.#live, message.spec);
        const compiled = await this.#compiler?.compileGrammar(grammar);
        if (compiled !== undefined) this.#compiled.set(message.key, compiled);
        return this.#post({ type: "compiled", id: message.id, error: null });
      }
      case "open":
        return this.#open(message);
      case "drop":
        this.#compiled.get(message.key)?.dispose();
        this.#compiled.delete(message.key);
        return;
    }
    const followed = this.#followed.get(message.matcher);
    if (followed === undefined) return;
    if (message.type === "accept")
      return this.#tellMask(followed, followed.matcher.acceptToken(message.token));
    followed.matcher.dispose();
    this.#followed.delete(message.matcher);
  }

  get #live(): Library {
    if (this.#library === null) throw new Error("the compiler has not been started");
    return this.#library;
  }

  async #start({ tokens, vocabSize, stopIds }: WorkerVocabulary): Promise<void> {
    this.#library = this.#loadLibrary();
    const { TokenizerInfo, GrammarCompiler } = this.#library;
    const info = await TokenizerInfo.createTokenizerInfo([...tokens], "byte_level", false, vocabSize, [
      ...stopIds,
    ]);
    this.#compiler = await GrammarCompiler.createGrammarCompiler(info, false);
    this.#post({ type: "started", error: null });
  }

  async #open({ key, matcher: id, shared }: Extract<ToWorker, { type: "open" }>): Promise<void> {
    const grammar = this.#compiled.get(key);
    if (grammar === undefined) return;
    const matcher = await this.#live.GrammarMatcher.createGrammarMatcher(grammar);
    const followed = { id, matcher, shared: shared && new Int32Array(shared) };
    this.#followed.set(id, followed);
    return this.#tellMask(followed, true);
  }

  async #tellMask({ id, matcher, shared }: Followed, isAccepted: boolean): Promise<void> {
    const isOver = !isAccepted || matcher.isTerminated();
    const mask = isOver ? null : await matcher.getNextTokenBitmask();
    if (shared === null) {
      const bits = isAccepted ? new Uint32Array(mask ?? []) : null;
      return this.#post({ type: "mask", matcher: id, bits }, bits === null ? [] : [bits.buffer]);
    }
    if (mask === null) shared.fill(0, maskHeader);
    else shared.set(mask, maskHeader);
    Atomics.store(shared, 1, isAccepted ? maskState.good : maskState.failed);
    Atomics.add(shared, 0, 1);
    Atomics.notify(shared, 0);
  }
}

async function grammarOf(library: Library, spec: GrammarSpec): Promise<XGrammar.Grammar> {
  const { Grammar } = library;
  if (spec.kind === "schema")
    return Grammar.fromEBNF(shareOwnRules(await schemaGrammar(library, spec.schema)));
  if (spec.kind === "json") return Grammar.fromEBNF(await schemaGrammar(library, { type: "object" }, false));
  if (spec.kind === "regex")
    return Grammar.fromStructuralTag(
      JSON.stringify({ type: "structural_tag", format: { type: "regex", pattern: spec.pattern } }),
    );
  if (spec.kind === "choice") return Grammar.fromEBNF(`root ::= ${spec.choices.map(quoted).join(" | ")}`);
  const { begin, end, mustCall, several } = spec;
  const texts = [];
  for (const { parameters } of spec.tools) texts.push(await schemaGrammar(library, parameters));
  const { rules, roots } = joinGrammars(texts);
  const calls = spec.tools.map(
    ({ name }, i) => `(${quoted(`${JSON.stringify(name)}, "arguments": `)} ${roots[i]})`,
  );
  const grammar = printGrammar(`${quoted('{"name": ')} (${calls.join(" | ")}) "}"`, rules);
  const tags = [{ type: "tag", begin, content: { type: "grammar", grammar }, end }];
  const format = mustCall
    ? { type: "tags_with_separator", tags, separator: "\n", at_least_one: true, stop_after_first: !several }
    : { type: "triggered_tags", triggers: [begin], tags, at_least_one: false, stop_after_first: !several };
  return Grammar.fromStructuralTag(JSON.stringify({ type: "structural_tag", format }));
}

/** A literal of the compiler's own notation. */
function quoted(text: string): string {
  let out = "";
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    out += /[A-Za-z0-9 ]/.test(character) ? character : `\\U${code.toString(16).padStart(8, "0")}`;
  }
  return `"${out}"`;
}
