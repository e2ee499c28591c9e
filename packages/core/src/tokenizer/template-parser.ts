/**
 * Words to a syntax tree. Grammar and precedence: Jinja2 3.1, parser.py, with loop controls and the `generation` block of the transformers
 * library. What would read other templates (include, import, extends, block) is refused.
 * One method a rule of the grammar, and the rules are many.
 */

import type { Part, Word } from "./template-lexer.ts";
import type { Args, Expr, Param, Statement, Target } from "./template-tree.ts";
import { Float, templateError, type Value } from "./template-values.ts";

const maxDepth = 200;
/** Names that one statement binds: parameters of a macro, targets of an assignment or loop. */
const maxBound = 64;

export function parseParts(parts: readonly Part[]): Statement[] {
  const parser = new Parser(parts);
  const body = parser.body([]);
  return body;
}

class Parser {
  private readonly parts: readonly Part[];
  private at = 0;
  private words: readonly Word[] = [];
  private word = 0;
  private depth = 0;
  private loops = 0;

  constructor(parts: readonly Part[]) {
    this.parts = parts;
  }

  /** Statements until a block that begins with one of `ends`, whose name is consumed; to the end of the template for none. */
  body(ends: readonly string[]): Statement[] {
    return this.nested(() => {
      const list: Statement[] = [];
      for (;;) {
        const part = this.parts[this.at];
        if (part === undefined) {
          if (ends.length > 0) throw templateError(`ends before ${ends.join(" or ")}`);
          return list;
        }
        this.at++;
        if (part.kind === "text") {
          list.push({ type: "text", text: part.text });
          continue;
        }
        this.words = part.words;
        this.word = 0;
        if (part.kind === "print") {
          list.push({ type: "print", value: this.tuple(true) });
          this.finish();
          continue;
        }
        const name = this.name();
        if (ends.includes(name)) return list;
        list.push(...this.statement(name));
      }
    });
  }

  /** The rest of the tag must be empty. */
  private finish(): void {
    const left = this.words[this.word];
    if (left !== undefined) throw templateError(`has an unexpected ${JSON.stringify(left.text)}`);
  }

  private nested<T>(action: () => T): T {
    if (++this.depth > maxDepth) throw templateError(`nests more than ${maxDepth} levels deep`);
    const result = action();
    this.depth--;
    return result;
  }

  private peek(): string | undefined {
    const word = this.words[this.word];
    return word === undefined || word.kind === "string" ? undefined : word.text;
  }

  private is(kind: Word["kind"], ...texts: string[]): boolean {
    const word = this.words[this.word];
    return word !== undefined && word.kind === kind && (texts.length === 0 || texts.includes(word.text));
  }

  private take(kind: Word["kind"], text: string): boolean {
    if (!this.is(kind, text)) return false;
    this.word++;
    return true;
  }

  private need(kind: Word["kind"], text: string): void {
    if (this.take(kind, text)) return;
    const found = this.words[this.word];
    throw templateError(
      `expected ${JSON.stringify(text)}, found ${found === undefined ? "the end of a tag" : JSON.stringify(found.text)}`,
    );
  }

  private name(): string {
    const word = this.words[this.word++];
    if (word?.kind !== "name")
      throw templateError(`expected a name, found ${JSON.stringify(word?.text ?? "")}`);
    return word.text;
  }

  private statement(name: string): Statement[] {
    switch (name) {
      case "if":
        return [this.ifStatement()];
      case "for":
        return [this.forStatement()];
      case "set":
        return [this.setStatement()];
      case "macro":
        return [this.macroStatement()];
      case "call": {
        const params = this.is("operator", "(") ? this.params() : [];
        const call = this.expression();
        this.finish();
        if (call.type !== "call") throw templateError("has a call block without a call");
        return [{ type: "callblock", call, params, body: this.closed("endcall") }];
      }
      case "filter": {
        const filters = this.filters({ type: "block" });
        this.finish();
        return [{ type: "filterblock", filter: filters, body: this.closed("endfilter") }];
      }
      case "with":
        return [this.withStatement()];
      case "generation":
        this.finish();
        return this.closed("endgeneration");
      case "break":
      case "continue":
        this.finish();
        if (this.loops === 0) throw templateError(`has a ${name} outside a loop`);
        return [{ type: name }];
      default:
        throw templateError(`uses ${JSON.stringify(name)}, which is unknown or not supported here`);
    }
  }

  private closed(end: string): Statement[] {
    const body = this.body([end]);
    this.finish();
    return body;
  }

  private ifStatement(): Statement {
    const test = this.tuple(false);
    this.finish();
    const body = this.body(["elif", "else", "endif"]);
    const last = this.words[0]?.text;
    if (last === "elif")
      return { type: "if", test, body, otherwise: [this.nested(() => this.ifStatement())] };
    this.finish();
    return { type: "if", test, body, otherwise: last === "else" ? this.closed("endif") : [] };
  }

  private forStatement(): Statement {
    const target = this.target(false, "in");
    this.need("name", "in");
    const items = this.tuple(false, "recursive");
    const test = this.take("name", "if") ? this.expression() : null;
    if (this.is("name", "recursive")) throw templateError("uses a recursive loop, which is not supported");
    this.finish();
    this.loops++;
    const body = this.body(["else", "endfor"]);
    this.loops--;
    const hasElse = this.words[0]?.text === "else";
    this.finish();
    return { type: "for", target, items, test, body, otherwise: hasElse ? this.closed("endfor") : [] };
  }

  private setStatement(): Statement {
    const target = this.target(true, "=");
    if (this.take("operator", "=")) {
      const value = this.tuple(true);
      this.finish();
      return { type: "set", target, value };
    }
    const filter = this.is("operator", "|") ? this.filters({ type: "block" }) : null;
    this.finish();
    return { type: "setblock", target, filter, body: this.closed("endset") };
  }

  private macroStatement(): Statement {
    const name = this.name();
    const params = this.params();
    this.finish();
    const loops = this.loops;
    this.loops = 0;
    const body = this.closed("endmacro");
    this.loops = loops;
    return { type: "macro", name, params, body };
  }

  private withStatement(): Statement {
    const bindings: { target: Target; value: Expr }[] = [];
    while (this.word < this.words.length) {
      if (bindings.length > 0) this.need("operator", ",");
      const target = this.target(false, "=");
      this.need("operator", "=");
      bindings.push({ target, value: this.expression() });
    }
    checkBound(bindings.length);
    return { type: "with", bindings, body: this.closed("endwith") };
  }

  private params(): Param[] {
    const params: Param[] = [];
    this.need("operator", "(");
    while (!this.take("operator", ")")) {
      if (params.length > 0) this.need("operator", ",");
      const name = this.name();
      const byDefault = this.take("operator", "=") ? this.expression() : null;
      if (byDefault === null && params.at(-1)?.byDefault)
        throw templateError("has a parameter without a default after one with");
      params.push({ name, byDefault });
    }
    checkBound(params.length);
    return params;
  }

  private target(mayBeField: boolean, end: string): Target {
    const list: Target[] = [];
    let isTuple = false;
    for (;;) {
      if (this.peek() === end || this.words[this.word] === undefined) break;
      if (this.take("operator", "(")) {
        list.push(this.nested(() => this.target(false, ")")));
        this.need("operator", ")");
      } else {
        const name = this.name();
        if (mayBeField && this.take("operator", ".")) list.push({ type: "field", name, field: this.name() });
        else list.push({ type: "name", name });
      }
      checkBound(list.length);
      if (!this.take("operator", ",")) break;
      isTuple = true;
    }
    const [first] = list;
    if (first === undefined) throw templateError("assigns to nothing");
    return isTuple ? { type: "tuple", items: list } : first;
  }

  private tuple(mayBranch: boolean, end?: string): Expr {
    const one = () => (mayBranch ? this.expression() : this.or());
    const ends = () => {
      const word = this.words[this.word];
      return (
        word === undefined ||
        (word.kind === "operator" && [")", "]", "}"].includes(word.text)) ||
        (end !== undefined && word.text === end)
      );
    };
    const items = [one()];
    let isTuple = false;
    while (this.take("operator", ",")) {
      isTuple = true;
      if (ends()) break;
      items.push(one());
    }
    return isTuple ? { type: "tuple", items } : (items[0] as Expr);
  }

  private expression(): Expr {
    return this.nested(() => {
      let value = this.or();
      while (this.take("name", "if")) {
        const test = this.or();
        const otherwise = this.take("name", "else") ? this.expression() : null;
        value = { type: "branch", test, value, otherwise };
      }
      return value;
    });
  }

  private or(): Expr {
    let left = this.and();
    while (this.take("name", "or")) left = { type: "or", left, right: this.and() };
    return left;
  }

  private and(): Expr {
    let left = this.not();
    while (this.take("name", "and")) left = { type: "and", left, right: this.not() };
    return left;
  }

  private not(): Expr {
    if (!this.take("name", "not")) return this.compare();
    return this.nested(() => ({ type: "not", operand: this.not() }));
  }

  private compare(): Expr {
    const first = this.sum();
    const rest: { op: string; value: Expr }[] = [];
    for (;;) {
      const next = this.words[this.word + 1];
      if (this.is("operator", "==", "!=", "<", "<=", ">", ">="))
        rest.push({ op: this.words[this.word++]?.text ?? "", value: this.sum() });
      else if (this.take("name", "in")) rest.push({ op: "in", value: this.sum() });
      else if (this.is("name", "not") && next?.kind === "name" && next.text === "in") {
        this.word += 2;
        rest.push({ op: "not in", value: this.sum() });
      } else break;
    }
    return rest.length === 0 ? first : { type: "compare", first, rest };
  }

  private sum(): Expr {
    return this.binary(["+", "-"], () =>
      this.binary(["~"], () =>
        this.binary(["*", "/", "//", "%"], () => this.binary(["**"], () => this.unary(true))),
      ),
    );
  }

  private binary(ops: readonly string[], part: () => Expr): Expr {
    let left = part();
    while (this.is("operator", ...ops)) {
      const op = this.words[this.word++]?.text ?? "";
      left = { type: "binary", op, left, right: part() };
    }
    return left;
  }

  private unary(withFilter: boolean): Expr {
    const sign = this.is("operator", "-", "+") ? this.words[this.word++]?.text : undefined;
    const value: Expr =
      sign === undefined
        ? this.postfix(this.primary())
        : this.nested(() => ({ type: "sign", isNegative: sign === "-", operand: this.unary(false) }));
    return withFilter ? this.filters(value) : value;
  }

  private primary(): Expr {
    const word = this.words[this.word++];
    if (word === undefined) throw templateError("has an expression that does not end");
    if (word.kind === "string") {
      let text = word.text;
      while (this.is("string")) text += this.words[this.word++]?.text ?? "";
      return { type: "string", text };
    }
    if (word.kind === "integer") return { type: "value", value: word.value };
    if (word.kind === "float") return { type: "value", value: new Float(word.value) };
    if (word.kind === "name") {
      const constant = constants.get(word.text);
      return constant === undefined
        ? { type: "name", name: word.text }
        : { type: "value", value: constant.value };
    }
    return this.nested(() => this.bracketed(word.text));
  }

  private bracketed(open: string): Expr {
    if (open === "(") {
      if (this.take("operator", ")")) return { type: "tuple", items: [] };
      const value = this.tuple(true);
      this.need("operator", ")");
      return value;
    }
    if (open === "[") {
      const items: Expr[] = [];
      while (!this.take("operator", "]")) {
        if (items.length > 0) this.need("operator", ",");
        if (this.take("operator", "]")) break;
        items.push(this.expression());
      }
      return { type: "list", items };
    }
    if (open !== "{") throw templateError(`has an unexpected ${JSON.stringify(open)}`);
    const entries: { key: Expr; value: Expr }[] = [];
    while (!this.take("operator", "}")) {
      if (entries.length > 0) this.need("operator", ",");
      if (this.take("operator", "}")) break;
      const key = this.expression();
      this.need("operator", ":");
      entries.push({ key, value: this.expression() });
    }
    return { type: "dict", entries };
  }

  private postfix(start: Expr): Expr {
    let value = start;
    for (;;) {
      if (this.take("operator", ".")) {
        const word = this.words[this.word++];
        if (word?.kind === "integer")
          value = { type: "item", object: value, key: { type: "value", value: word.value } };
        else if (word?.kind === "name") value = { type: "field", object: value, name: word.text };
        else throw templateError("expected a name after a dot");
      } else if (this.take("operator", "[")) {
        value = { type: "item", object: value, key: this.subscript() };
        this.need("operator", "]");
      } else if (this.is("operator", "(")) value = { type: "call", callee: value, args: this.args() };
      else return value;
    }
  }

  private subscript(): Expr {
    const bound = () => (this.is("operator", ":", "]") ? null : this.expression());
    const start = bound();
    if (!this.take("operator", ":")) {
      if (start === null) throw templateError("has an empty subscript");
      return start;
    }
    const stop = bound();
    const step = this.take("operator", ":") ? bound() : null;
    return { type: "slice", start, stop, step };
  }

  private args(): Args {
    const positional: Args["positional"][number][] = [];
    const named: Args["named"][number][] = [];
    this.need("operator", "(");
    while (!this.take("operator", ")")) {
      if (positional.length + named.length > 0) this.need("operator", ",");
      if (this.take("operator", ")")) break;
      const next = this.words[this.word + 1];
      if (this.take("operator", "*")) positional.push({ isSpread: true, value: this.expression() });
      else if (this.take("operator", "**")) named.push({ name: null, value: this.expression() });
      else if (this.is("name") && next?.kind === "operator" && next.text === "=") {
        const name = this.name();
        this.word++;
        named.push({ name, value: this.expression() });
      } else if (named.length > 0) throw templateError("has a positional argument after a named one");
      else positional.push({ isSpread: false, value: this.expression() });
    }
    return { positional, named };
  }

  private filters(start: Expr): Expr {
    let value = start;
    let mayStart = start.type === "block" && !this.is("operator", "|");
    for (;;) {
      if (mayStart || this.take("operator", "|")) {
        mayStart = false;
        const name = this.dotted();
        const args = this.is("operator", "(") ? this.args() : noArgs;
        value = { type: "filter", operand: value, name, args };
      } else if (this.take("name", "is")) value = this.test(value);
      else if (this.is("operator", "(") && value.type !== "block")
        value = { type: "call", callee: value, args: this.args() };
      else return value;
    }
  }

  private dotted(): string {
    let name = this.name();
    while (this.take("operator", ".")) name += `.${this.name()}`;
    return name;
  }

  private test(operand: Expr): Expr {
    const isNegated = this.take("name", "not");
    const name = this.dotted();
    let args = noArgs;
    if (this.is("operator", "(")) args = this.args();
    else {
      const next = this.words[this.word];
      const begins = next !== undefined && (next.kind !== "operator" || ["[", "{"].includes(next.text));
      const isKeyword =
        next?.kind === "name" && ["else", "or", "and", "if", "in", "not", "is"].includes(next.text);
      if (begins && !isKeyword)
        args = { positional: [{ isSpread: false, value: this.postfix(this.primary()) }], named: [] };
    }
    return { type: "test", operand, name, args, isNegated };
  }
}

const noArgs: Args = { positional: [], named: [] };

const constants: ReadonlyMap<string, { value: Value }> = new Map([
  ["true", { value: true }],
  ["True", { value: true }],
  ["false", { value: false }],
  ["False", { value: false }],
  ["none", { value: null }],
  ["None", { value: null }],
]);

function checkBound(count: number): void {
  if (count > maxBound)
    throw templateError(`binds ${count} names at once, at most ${maxBound} are supported`);
}
