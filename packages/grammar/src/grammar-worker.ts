/**
 * The thread in which grammars are compiled and followed. The compiler is WebAssembly that can run for long or die of its input: it may
 * be ended from outside at any time. After every token it writes the next mask into memory that the generating thread reads.
 */
import { readFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { dirname } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import type * as XGrammar from "@mlc-ai/web-xgrammar";
import type { GrammarSpec } from "./grammar-spec.ts";
import {
  type FromWorker,
  maskHeader,
  maskState,
  type ToWorker,
  type WorkerVocabulary,
} from "./worker-messages.ts";

/** The package says that it is ECMAScript modules, but it is CommonJS. */
function loadCompiler(): typeof XGrammar {
  const file = createRequire(import.meta.url).resolve("@mlc-ai/web-xgrammar");
  const loaded = new Module(file) as Module & {
    _compile(source: string, file: string): void;
    paths: string[];
  };
  loaded.filename = file;
  loaded.paths = [dirname(file)];
  loaded._compile(readFileSync(file, "utf8"), file);
  return loaded.exports as typeof XGrammar;
}

const { TokenizerInfo, GrammarCompiler, GrammarMatcher, Grammar } = loadCompiler();
const vocabulary = workerData as WorkerVocabulary;
const grammars = new Map<string, XGrammar.CompiledGrammar>();
const matchers = new Map<number, { matcher: XGrammar.GrammarMatcher; shared: Int32Array }>();
const compiler = createCompiler();

async function createCompiler(): Promise<XGrammar.GrammarCompiler> {
  const { tokens, vocabSize, stopIds } = vocabulary;
  const info = await TokenizerInfo.createTokenizerInfo([...tokens], "byte_level", false, vocabSize, [
    ...stopIds,
  ]);
  return GrammarCompiler.createGrammarCompiler(info, false);
}

/**
 * Compact: at most one character of white space between the parts of a value, else models write spaces until their tokens are spent. The
 * compiler keeps to that except within values of any type, where its notation says "[ \\n\\t]*".
 */
async function schemaGrammar(schema: unknown, isStrict = true): Promise<string> {
  const grammar = await Grammar.fromJSONSchema(JSON.stringify(schema), true, -1, undefined, isStrict, 1);
  const text = grammar.toString().replaceAll("[ \\n\\t]*", "[ ]?");
  grammar.dispose();
  return text;
}

async function grammarOf(spec: GrammarSpec): Promise<XGrammar.Grammar> {
  if (spec.kind === "schema") return Grammar.fromEBNF(await schemaGrammar(spec.schema));
  if (spec.kind === "json") return Grammar.fromEBNF(await schemaGrammar({ type: "object" }, false));
  if (spec.kind === "regex")
    return Grammar.fromStructuralTag(
      JSON.stringify({ type: "structural_tag", format: { type: "regex", pattern: spec.pattern } }),
    );
  if (spec.kind === "choice") return Grammar.fromEBNF(`root ::= ${spec.choices.map(quoted).join(" | ")}`);
  const { begin, end, mustCall, several } = spec;
  const tags = [];
  for (const { name, parameters } of spec.tools) {
    const grammar = await schemaGrammar(parameters);
    const opening = `${begin}{"name": ${JSON.stringify(name)}, "arguments": `;
    tags.push({ type: "tag", begin: opening, content: { type: "grammar", grammar }, end: `}${end}` });
  }
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

async function writeMask(
  matcher: XGrammar.GrammarMatcher,
  shared: Int32Array,
  isAccepted: boolean,
): Promise<void> {
  const isOver = !isAccepted || matcher.isTerminated();
  if (isOver) shared.fill(0, maskHeader);
  else shared.set(await matcher.getNextTokenBitmask(), maskHeader);
  Atomics.store(shared, 1, isAccepted ? maskState.good : maskState.failed);
  Atomics.add(shared, 0, 1);
  Atomics.notify(shared, 0);
}

async function handle(message: ToWorker): Promise<void> {
  if (message.type === "compile") {
    const compiled = await (await compiler).compileGrammar(await grammarOf(message.spec));
    grammars.set(message.key, compiled);
    return reply({ type: "compiled", id: message.id, error: null });
  }
  if (message.type === "open") {
    const grammar = grammars.get(message.key);
    const shared = new Int32Array(message.shared);
    if (grammar === undefined) return;
    const matcher = await GrammarMatcher.createGrammarMatcher(grammar);
    matchers.set(message.matcher, { matcher, shared });
    return writeMask(matcher, shared, true);
  }
  if (message.type === "drop") {
    grammars.get(message.key)?.dispose();
    grammars.delete(message.key);
    return;
  }
  const open = matchers.get(message.matcher);
  if (open === undefined) return;
  if (message.type === "accept")
    return writeMask(open.matcher, open.shared, open.matcher.acceptToken(message.token));
  open.matcher.dispose();
  matchers.delete(message.matcher);
}

function reply(message: FromWorker): void {
  parentPort?.postMessage(message);
}

// One message after the other, though the compiler's interface is asynchronous.
let last: Promise<void> = Promise.resolve();
parentPort?.on("message", (message: ToWorker) => {
  last = last
    .then(() => handle(message))
    .catch((error: unknown) => {
      const text = error instanceof Error ? error.message : String(error);
      if (message.type === "compile") reply({ type: "compiled", id: message.id, error: text.slice(0, 500) });
    });
});
