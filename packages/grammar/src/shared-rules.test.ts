import type * as XGrammar from "@mlc-ai/web-xgrammar";
import { expect, test } from "vitest";
import { loadLibrary } from "./library.node.ts";
import { schemaGrammar } from "./schema-grammar.ts";
import { joinGrammars, printGrammar, shareOwnRules } from "./shared-rules.ts";

const basic =
  'basic_text ::= (("\\"" [^\\"\\]]* "\\"") | (basic_list))\nbasic_list ::= (("[" basic_text "]"))';
const grammar = (key: string, more = "") =>
  `${basic}\nroot_1 ::= (([ ]) | ([\\n]))\nroot_2 ::= (([ ]) | ([\\n]))\nroot ::= (("{" root_1 "\\"${key}\\"" root_2 basic_text "}"))${more}`;

test("rules that say the same stand once, in one grammar and in several", () => {
  const { rules, roots } = joinGrammars([grammar("a"), grammar("b"), grammar("a")]);
  expect(roots).toEqual(["of0_root", "of1_root", "of0_root"]);
  expect([...rules.keys()]).toEqual(["basic_text", "basic_list", "of0_root_1", "of0_root", "of1_root"]);
  expect(rules.get("of1_root")).toBe('(("{" of0_root_1 "\\"b\\"" of0_root_1 basic_text "}"))');
  expect(printGrammar(roots[0] ?? "", rules).split("\n")[0]).toBe("root ::= of0_root");
});

test("what a schema calls by a name of the basic ones is its own", () => {
  const other = grammar("a").replace("(basic_list)", '"none"');
  const { rules, roots } = joinGrammars([grammar("a"), other]);
  expect(rules.get("basic_text")).toContain("(basic_list)");
  expect(rules.get("of1_basic_text")).toContain('"none"');
  expect(rules.get(roots[1] ?? "")).toContain("of1_basic_text");
});

test("names of a schema's own definitions may hold signs; literals and classes are left alone", () => {
  const text =
    'defs_My-Def.v2 ::= (("root_1" [root_1\\]]) | (defs_My-Def.v2))\nroot_1 ::= ("x")\nroot ::= ((root_1 defs_My-Def.v2))';
  expect(shareOwnRules(text)).toBe(
    [
      "root ::= of0_root",
      'of0_defs_My-Def.v2 ::= (("root_1" [root_1\\]]) | (of0_defs_My-Def.v2))',
      'of0_root_1 ::= ("x")',
      "of0_root ::= ((of0_root_1 of0_defs_My-Def.v2))",
    ].join("\n"),
  );
});

test("what may be empty is not shared", () => {
  const text = 'root_1 ::= ("" | ([ ]))\nroot_2 ::= ("" | ([ ]))\nroot ::= ((root_1 "," root_2))';
  expect(joinGrammars([text]).rules.get("of0_root")).toBe('((of0_root_1 "," of0_root_2))');
});

const library = loadLibrary();
const tokens = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code));
tokens.push('","', '": ', '{"', "},", "null", "true", ", ", '"}', "[{", "}]}", "<end>");
const endId = tokens.length - 1;

test("joined grammars allow what each did alone, token by token", { timeout: 60_000 }, async () => {
  const random = seeded(6);
  for (let round = 0; round < 12; round++) {
    const schemas = [0, 1, 2].map(() => randomSchema(random));
    const texts: string[] = [];
    for (const schema of schemas) texts.push(await schemaGrammar(library, schema));
    const { rules, roots } = joinGrammars(texts);
    for (const [i, text] of texts.entries()) {
      const [alone, joined] = [await compile(text), await compile(printGrammar(roots[i] ?? "", rules))];
      for (let walk = 0; walk < 4; walk++)
        expect(await walked(alone, joined, random), JSON.stringify(schemas[i])).toBe("the same");
    }
  }
});

type Random = (below: number) => number;

function seeded(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function randomSchema(random: Random, depth = 0): object {
  const inner = () => randomSchema(random, depth + 1);
  switch (random(depth > 2 ? 5 : 8)) {
    case 0:
      return { type: "string" };
    case 1:
      return { type: "integer", minimum: random(5), maximum: 5 + random(200) };
    case 2:
      return { enum: ["a", random(9), null, `v${random(3)}`, [random(3)], { q: 1 }].slice(0, 1 + random(6)) };
    case 3:
      return { type: "boolean" };
    case 4:
      return random(2) === 0 ? {} : { type: "string", pattern: '^x+[\\]"-]?$' };
    case 5:
      return { type: "array", items: inner(), ...(random(2) === 0 ? { maxItems: 1 + random(3) } : {}) };
    case 6:
      return { anyOf: [inner(), inner()] };
    default: {
      const keys = ["name", "path", "kind", "basic_x"].filter(() => random(2) === 0);
      const required = keys.filter(() => random(2) === 0);
      return { type: "object", properties: Object.fromEntries(keys.map((key) => [key, inner()])), required };
    }
  }
}

async function compile(text: string): Promise<XGrammar.CompiledGrammar> {
  const { Grammar, GrammarCompiler, TokenizerInfo } = library;
  const info = await TokenizerInfo.createTokenizerInfo(tokens, "raw", false, tokens.length, [endId]);
  const compiler = await GrammarCompiler.createGrammarCompiler(info, false);
  return compiler.compileGrammar(await Grammar.fromEBNF(text));
}

/** A text that the first allows, chosen by chance, in both: where they differ, or "the same". */
async function walked(
  first: XGrammar.CompiledGrammar,
  second: XGrammar.CompiledGrammar,
  random: Random,
): Promise<string> {
  const a = await library.GrammarMatcher.createGrammarMatcher(first);
  const b = await library.GrammarMatcher.createGrammarMatcher(second);
  let text = "";
  try {
    for (let i = 0; i < 100 && !a.isTerminated(); i++) {
      const [own, other] = [allowed(await a.getNextTokenBitmask()), allowed(await b.getNextTokenBitmask())];
      if (own.join() !== other.join()) return `${text}: ${own} and ${other}`;
      // Signs of the form more often than letters, so that values end.
      const signs = own.filter((id) => id === endId || /["{}[\],:]/.test(tokens[id] ?? ""));
      const from = signs.length > 0 && random(3) > 0 ? signs : own;
      const id = from[random(from.length)];
      if (id === undefined) break;
      text += tokens[id];
      if (!a.acceptToken(id) || !b.acceptToken(id)) return `${text}: refused`;
    }
    return a.isTerminated() === b.isTerminated() ? "the same" : `${text}: only one is over`;
  } finally {
    a.dispose();
    b.dispose();
  }
}

function allowed(mask: Int32Array): number[] {
  return tokens.flatMap((_, id) => ((((mask[id >> 5] ?? 0) >>> (id & 31)) & 1) === 1 ? [id] : []));
}
