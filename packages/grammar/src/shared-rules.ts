/**
 * Grammars in the compiler's notation, joined so that rules which say the same stand once. The compiler finds the tokens that may follow for every
 * state of every rule, over the whole vocabulary, and looks at all rules at each: sixty tools and 128,000 tokens took 10 s with rules of their own, and
 * take 1.2 s with shared ones.
 */

/** Bodies by name, `root` among them. */
type Rules = Map<string, string>;

/** Rules without `root`, and the rule that each text's `root` has become. */
export interface JoinedGrammars {
  readonly rules: ReadonlyMap<string, string>;
  readonly roots: readonly string[];
}

/** Literals, classes of characters, names. */
const tokens = /"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|[A-Za-z_][A-Za-z0-9_.-]*/g;

/** @param texts One rule a line, as the compiler prints them. */
export function joinGrammars(texts: readonly string[]): JoinedGrammars {
  const rules: Rules = new Map();
  const roots = texts.map((text, i) => addGrammar(rules, readRules(text), i));
  return shareRules(rules, roots);
}

/** The grammar of one text again. */
export function shareOwnRules(text: string): string {
  const { rules, roots } = joinGrammars([text]);
  return printGrammar(roots.join(" | "), rules);
}

/** @param root The body of the rule to begin with. */
export function printGrammar(root: string, rules: ReadonlyMap<string, string>): string {
  return [["root", root], ...rules].map(([name, body]) => `${name} ::= ${body}`).join("\n");
}

function readRules(text: string): Rules {
  const mark = " ::= ";
  return new Map(
    text
      .split("\n")
      .filter((line) => line.includes(mark))
      .map((line) => [line.slice(0, line.indexOf(mark)), line.slice(line.indexOf(mark) + mark.length)]),
  );
}

/** What every schema has of values without a schema refers to itself in circles: told apart by name, and shared where all of it is the same. */
const isBasic = (name: string) => name.startsWith("basic_");

/** @returns The name of its root. */
function addGrammar(rules: Rules, own: Rules, index: number): string {
  const isShared = [...own].every(([name, body]) => !isBasic(name) || (rules.get(name) ?? body) === body);
  const nameOf = (name: string) => (isShared && isBasic(name) ? name : `of${index}_${name}`);
  const renamed = new Map([...own.keys()].map((name) => [name, nameOf(name)]));
  for (const [name, body] of own) rules.set(nameOf(name), withNames(body, renamed));
  return nameOf("root");
}

/** One that allows nothing at all is not shared: with such a rule in several places the compiler lets through what it should not. */
const mayBeEmpty = (body: string) => body.startsWith('(""');

/** Until no two rules say the same: those that differed only by what they refer to become equal from one round to the next. */
function shareRules(rules: Rules, roots: readonly string[]): JoinedGrammars {
  for (;;) {
    const firsts = new Map<string, string>();
    const renamed = new Map<string, string>();
    for (const [name, body] of rules) {
      const first = firsts.get(body);
      if (first === undefined || mayBeEmpty(body)) firsts.set(body, name);
      else renamed.set(name, first);
    }
    if (renamed.size === 0) return { rules, roots };
    for (const name of renamed.keys()) rules.delete(name);
    for (const [name, body] of rules) rules.set(name, withNames(body, renamed));
    roots = roots.map((root) => renamed.get(root) ?? root);
  }
}

function withNames(body: string, names: ReadonlyMap<string, string>): string {
  return body.replace(tokens, (token) => names.get(token) ?? token);
}
