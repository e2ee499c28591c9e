/**
 * Runs a template's syntax tree as Jinja2 3.1 runs it in the sandbox of the transformers library, under a meter. Knows nothing of
 * messages or tokens. Long, because statements and expressions call each other all the way round.
 */

import { contains, runFilter, runTest } from "./template-filters.ts";
import { formatPercent } from "./template-format.ts";
import { isKey, keyOf, methodOf } from "./template-methods.ts";
import type { Args, CallExpr, Expr, Param, Statement, Target } from "./template-tree.ts";
import {
  Callable,
  compare,
  type Dict,
  equal,
  Float,
  isDict,
  isList,
  isTrue,
  itemsOf,
  type Key,
  type Meter,
  Namespace,
  numberOf,
  printed,
  requireDefined,
  Tuple,
  templateError,
  typeName,
  Undefined,
  type Value,
} from "./template-values.ts";

const maxDepth = 400;

/** Methods whose arguments are looked for, not printed: control tokens in them stay text. */
const searching: ReadonlySet<string> = new Set(
  "split rsplit startswith endswith strip lstrip rstrip find rfind index count partition rpartition removeprefix removesuffix".split(
    " ",
  ),
);

class Scope {
  private readonly values: Map<string, Value>;
  private readonly outer: Scope | null;

  constructor(outer: Scope | null, values: Map<string, Value> = new Map()) {
    this.outer = outer;
    this.values = values;
  }

  set(name: string, value: Value): void {
    this.values.set(name, value);
  }

  find(name: string, meter: Meter): Value {
    for (let scope: Scope | null = this; scope !== null; scope = scope.outer) {
      meter.step();
      const value = scope.values.get(name);
      if (value !== undefined) return value;
    }
    return new Undefined(`'${name}'`);
  }
}

type Flow = "on" | "break" | "continue";

export function runTemplate(
  body: readonly Statement[],
  globals: ReadonlyMap<string, Value>,
  options: { meter: Meter; mapLiteral: (text: string) => string },
): string {
  const interpreter = new Interpreter(options.meter, options.mapLiteral);
  return interpreter.render(
    body,
    new Scope(new Scope(null, new Map([...globals, ...interpreter.builtins()]))),
  );
}

class Interpreter {
  private readonly meter: Meter;
  private readonly mapLiteral: (text: string) => string;
  private depth = 0;

  constructor(meter: Meter, mapLiteral: (text: string) => string) {
    this.meter = meter;
    this.mapLiteral = mapLiteral;
  }

  builtins(): Map<string, Value> {
    const fill = (target: Map<Key, Value>, args: readonly Value[], named: ReadonlyMap<string, Value>) => {
      const [source] = args;
      if (source !== undefined && isDict(source)) for (const [key, value] of source) target.set(key, value);
      else if (source !== undefined)
        for (const pair of itemsOf(source, this.meter)) {
          const [key, value] = itemsOf(pair, this.meter);
          target.set(keyOf(key ?? null), value ?? null);
        }
      for (const [key, value] of named) target.set(key, value);
      this.meter.make(16 * target.size);
    };
    return new Map<string, Value>([
      [
        "namespace",
        new Callable("namespace", (args, named) => {
          const space = new Namespace();
          fill(space.fields as Map<Key, Value>, args, named);
          return space;
        }),
      ],
      [
        "dict",
        new Callable("dict", (args, named) => {
          const dict: Dict = new Map();
          fill(dict, args, named);
          return dict;
        }),
      ],
    ]);
  }

  render(body: readonly Statement[], scope: Scope): string {
    const out: string[] = [];
    this.run(body, scope, out);
    const length = out.reduce((sum, part) => sum + part.length, 0);
    this.meter.make(length);
    return out.join("");
  }

  private deeper<T>(action: () => T): T {
    if (++this.depth > maxDepth) throw templateError(`nests or recurses more than ${maxDepth} levels deep`);
    const result = action();
    this.depth--;
    return result;
  }

  private write(text: string, out: string[]): void {
    this.meter.spend(text.length + 1);
    if (text !== "") out.push(text);
  }

  private run(body: readonly Statement[], scope: Scope, out: string[]): Flow {
    for (const statement of body) {
      const flow = this.deeper(() => this.runOne(statement, scope, out));
      if (flow !== "on") return flow;
    }
    return "on";
  }

  private runOne(statement: Statement, scope: Scope, out: string[]): Flow {
    this.meter.step();
    switch (statement.type) {
      case "text":
        this.write(this.mapLiteral(statement.text), out);
        return "on";
      case "print":
        this.write(printed(this.value(statement.value, scope), this.meter), out);
        return "on";
      case "if":
        return this.run(
          isTrue(this.value(statement.test, scope)) ? statement.body : statement.otherwise,
          scope,
          out,
        );
      case "for":
        return this.loop(statement, scope, out);
      case "set":
        this.assign(statement.target, this.value(statement.value, scope), scope);
        return "on";
      case "setblock": {
        const written = this.render(statement.body, new Scope(scope));
        this.assign(
          statement.target,
          statement.filter === null ? written : this.value(statement.filter, scope, written),
          scope,
        );
        return "on";
      }
      case "filterblock": {
        const written = this.render(statement.body, new Scope(scope));
        this.write(printed(this.value(statement.filter, scope, written), this.meter), out);
        return "on";
      }
      case "with": {
        const inner = new Scope(scope);
        for (const { target, value } of statement.bindings)
          this.assign(target, this.value(value, scope), inner);
        this.run(statement.body, inner, out);
        return "on";
      }
      case "macro":
        scope.set(statement.name, this.macro(statement.name, statement.params, statement.body, scope));
        return "on";
      case "callblock": {
        const caller = this.macro("caller", statement.params, statement.body, scope);
        this.write(printed(this.call(statement.call, scope, new Map([["caller", caller]])), this.meter), out);
        return "on";
      }
      default:
        return statement.type;
    }
  }

  private loop(statement: Extract<Statement, { type: "for" }>, scope: Scope, out: string[]): Flow {
    let items = itemsOf(this.value(statement.items, scope), this.meter);
    const { test } = statement;
    if (test !== null) {
      items = items.filter((item) => {
        const inner = new Scope(scope);
        this.meter.step();
        this.assign(statement.target, item, inner);
        return isTrue(this.value(test, inner));
      });
    }
    for (const [index, item] of items.entries()) {
      this.meter.step();
      const inner = new Scope(scope);
      inner.set("loop", loopFacts(items, index));
      this.assign(statement.target, item, inner);
      if (this.run(statement.body, inner, out) === "break") break;
    }
    return items.length > 0 ? "on" : this.run(statement.otherwise, new Scope(scope), out);
  }

  private assign(target: Target, value: Value, scope: Scope): void {
    if (target.type === "name") scope.set(target.name, value);
    else if (target.type === "field") {
      const space = scope.find(target.name, this.meter);
      if (!(space instanceof Namespace)) throw templateError("assigns to a field of what is no namespace");
      space.fields.set(target.field, value);
    } else {
      const items = itemsOf(requireDefined(value), this.meter);
      if (items.length !== target.items.length)
        throw templateError(`unpacks ${items.length} values into ${target.items.length} names`);
      for (const [index, inner] of target.items.entries()) this.assign(inner, items[index] ?? null, scope);
    }
  }

  private macro(name: string, params: readonly Param[], body: readonly Statement[], scope: Scope): Callable {
    return new Callable(name, (args, named) => {
      const inner = new Scope(scope);
      const rest = new Map(named);
      for (const [index, { name: param, byDefault }] of params.entries()) {
        const given = args[index] ?? rest.get(param);
        rest.delete(param);
        inner.set(
          param,
          given ?? (byDefault === null ? new Undefined(`'${param}'`) : this.value(byDefault, inner)),
        );
      }
      const caller = rest.get("caller");
      if (caller !== undefined) inner.set("caller", caller);
      rest.delete("caller");
      inner.set("varargs", new Tuple(args.slice(params.length)));
      inner.set("kwargs", new Map<Key, Value>(rest));
      return this.deeper(() => this.render(body, inner));
    });
  }

  /** @param block What a filter or set block has written. */
  private value(expr: Expr, scope: Scope, block = ""): Value {
    this.meter.step();
    return this.deeper(() => this.valueOf(expr, scope, block));
  }

  private valueOf(expr: Expr, scope: Scope, block: string): Value {
    switch (expr.type) {
      case "value":
        return expr.value;
      case "string":
        return this.mapLiteral(expr.text);
      case "block":
        return block;
      case "name":
        return scope.find(expr.name, this.meter);
      case "list":
        return this.meter.list(expr.items.map((item) => this.value(item, scope)));
      case "tuple":
        return new Tuple(this.meter.list(expr.items.map((item) => this.value(item, scope))));
      case "dict": {
        this.meter.make(32 * expr.entries.length);
        return new Map(
          expr.entries.map(({ key, value }) => [keyOf(this.value(key, scope)), this.value(value, scope)]),
        );
      }
      case "field":
        return this.field(this.value(expr.object, scope), expr.name);
      case "item":
        return expr.key.type === "slice"
          ? this.slice(this.value(expr.object, scope), expr.key, scope)
          : this.item(this.value(expr.object, scope), this.value(expr.key, scope));
      case "slice":
        throw templateError("has a slice outside a subscript");
      case "call":
        return this.call(expr, scope, new Map());
      case "filter": {
        const value = this.value(expr.operand, scope, block);
        const { args, named } = this.args(expr.args, scope);
        return runFilter(expr.name, value, {
          args,
          named,
          meter: this.meter,
          fieldOf: (object, name) => this.item(object, name),
        });
      }
      case "test": {
        const value = this.value(expr.operand, scope);
        return runTest(expr.name, value, this.args(expr.args, scope).args, this.meter) !== expr.isNegated;
      }
      case "not":
        return !isTrue(this.value(expr.operand, scope));
      case "sign": {
        const operand = this.value(expr.operand, scope);
        const number = numberOf(requireDefined(operand));
        if (number === null) throw templateError(`negates ${typeName(operand)}`);
        const signed = expr.isNegative ? -number : number;
        return operand instanceof Float ? new Float(signed) : signed;
      }
      case "and": {
        const left = this.value(expr.left, scope);
        return isTrue(left) ? this.value(expr.right, scope) : left;
      }
      case "or": {
        const left = this.value(expr.left, scope);
        return isTrue(left) ? left : this.value(expr.right, scope);
      }
      case "branch":
        if (isTrue(this.value(expr.test, scope))) return this.value(expr.value, scope);
        return expr.otherwise === null
          ? new Undefined("the other side of a condition")
          : this.value(expr.otherwise, scope);
      case "compare":
        return this.comparison(expr, scope);
      case "binary":
        return this.binary(expr.op, this.value(expr.left, scope), this.value(expr.right, scope));
    }
  }

  /** A string that is only compared or looked for, and never printed, is taken as it is. */
  private plain(expr: Expr, scope: Scope): Value {
    return expr.type === "string" ? expr.text : this.value(expr, scope);
  }

  private comparison({ first, rest }: Extract<Expr, { type: "compare" }>, scope: Scope): boolean {
    let left = this.plain(first, scope);
    for (const { op, value } of rest) {
      const right = this.plain(value, scope);
      if (!this.holds(op, left, right)) return false;
      left = right;
    }
    return true;
  }

  private holds(op: string, left: Value, right: Value): boolean {
    switch (op) {
      case "==":
        return equal(left, right, this.meter);
      case "!=":
        return !equal(left, right, this.meter);
      case "in":
        return contains(right, left, this.meter);
      case "not in":
        return !contains(right, left, this.meter);
      default: {
        const order = compare(requireDefined(left), requireDefined(right), this.meter);
        return op === "<" ? order < 0 : op === "<=" ? order <= 0 : op === ">" ? order > 0 : order >= 0;
      }
    }
  }

  private binary(op: string, left: Value, right: Value): Value {
    if (op === "~") return this.meter.text(printed(left, this.meter) + printed(right, this.meter));
    const [a, b] = [requireDefined(left), requireDefined(right)];
    if (op === "%" && typeof a === "string") return formatPercent(a, b, this.meter);
    if (op === "+") {
      if (typeof a === "string" && typeof b === "string") {
        this.meter.make(a.length + b.length);
        return a + b;
      }
      if (isList(a) && isList(b)) {
        this.meter.make(16 * (a.length + b.length));
        return [...a, ...b];
      }
      if (a instanceof Tuple && b instanceof Tuple)
        return new Tuple(this.meter.list([...a.items, ...b.items]));
    }
    if (op === "*") {
      const [list, count] = typeof a === "number" ? [b, a] : [a, b];
      if (typeof count === "number" && typeof list === "string") {
        this.meter.make(list.length * Math.max(0, count));
        return list.repeat(Math.max(0, count));
      }
      if (typeof count === "number" && isList(list)) {
        this.meter.make(16 * list.length * Math.max(0, count));
        return Array.from({ length: Math.max(0, count) }, () => list).flat();
      }
    }
    const [x, y] = [numberOf(a), numberOf(b)];
    if (x === null || y === null) throw templateError(`cannot compute ${typeName(a)} ${op} ${typeName(b)}`);
    return arithmetic(op, x, y, a instanceof Float || b instanceof Float);
  }

  private field(object: Value, name: string): Value {
    if (object instanceof Undefined) throw templateError(`${object.what} is undefined`);
    if (object instanceof Namespace) return object.fields.get(name) ?? new Undefined(`'${name}'`);
    return methodOf(object, name, this.meter) ?? this.entry(object, name) ?? new Undefined(`'${name}'`);
  }

  private item(object: Value, key: Value): Value {
    if (object instanceof Undefined) throw templateError(`${object.what} is undefined`);
    if (object instanceof Namespace && typeof key === "string") return this.field(object, key);
    const found = this.entry(object, key);
    if (found !== undefined) return found;
    const method = typeof key === "string" ? methodOf(object, key, this.meter) : undefined;
    return method ?? new Undefined(`item ${printed(key, this.meter).slice(0, 40)}`);
  }

  private entry(object: Value, key: Value): Value | undefined {
    if (isDict(object)) return isKey(key) ? object.get(key) : undefined;
    const index = numberOf(key);
    if (index === null || key instanceof Float) return undefined;
    if (typeof object === "string") {
      this.meter.spend(object.length);
      return Array.from(object).at(index);
    }
    if (object instanceof Tuple) return object.items.at(index);
    return isList(object) ? object.at(index) : undefined;
  }

  private slice(object: Value, expr: Extract<Expr, { type: "slice" }>, scope: Scope): Value {
    const bound = (part: Expr | null): number | null => {
      const value = part === null ? null : this.value(part, scope);
      if (value === null || typeof value === "number") return value;
      throw templateError(`slices by ${typeName(value)}`);
    };
    const [start, stop, step] = [bound(expr.start), bound(expr.stop), bound(expr.step) ?? 1];
    if (step === 0) throw templateError("slices by steps of 0");
    if (!(typeof object === "string" || isList(object) || object instanceof Tuple))
      throw templateError(`slices ${typeName(object)}`);
    const items = itemsOf(object, this.meter);
    const size = items.length;
    const clamp = (value: number, low: number, high: number) =>
      Math.max(low, Math.min(high, value < 0 ? value + size : value));
    const [low, high] = step > 0 ? [0, size] : [-1, size - 1];
    const from = start === null ? (step > 0 ? low : high) : clamp(start, low, high);
    const to = stop === null ? (step > 0 ? high : low) : clamp(stop, low, high);
    const cut: Value[] = [];
    for (let at = from; step > 0 ? at < to : at > to; at += step) cut.push(items[at] ?? null);
    this.meter.make(16 * cut.length);
    if (typeof object === "string") return cut.join("");
    return object instanceof Tuple ? new Tuple(cut) : cut;
  }

  private call({ callee, args }: CallExpr, scope: Scope, extra: ReadonlyMap<string, Value>): Value {
    const searches = callee.type === "field" && searching.has(callee.name);
    const target = this.value(callee, scope);
    if (target instanceof Undefined) throw templateError(`${target.what} is undefined`);
    if (!(target instanceof Callable)) throw templateError(`calls ${typeName(target)}`);
    const given = this.args(args, scope, searches);
    return target.call(given.args, new Map([...given.named, ...extra]));
  }

  private args(
    { positional, named }: Args,
    scope: Scope,
    arePlain = false,
  ): { args: Value[]; named: Map<string, Value> } {
    const args: Value[] = [];
    for (const { isSpread, value } of positional) {
      const evaluated = arePlain ? this.plain(value, scope) : this.value(value, scope);
      if (isSpread) for (const item of itemsOf(evaluated, this.meter)) args.push(item);
      else args.push(evaluated);
    }
    const byName = new Map<string, Value>();
    for (const { name, value } of named) {
      const evaluated = this.value(value, scope);
      if (name !== null) byName.set(name, evaluated);
      else if (isDict(evaluated)) for (const [key, item] of evaluated) byName.set(String(key), item);
      else throw templateError(`unpacks ${typeName(evaluated)} as named arguments`);
    }
    this.meter.spend(16 * (args.length + byName.size));
    return { args, named: byName };
  }
}

function arithmetic(op: string, x: number, y: number, isFloat: boolean): Value {
  const result = (value: number, asFloat = isFloat): Value => {
    if (asFloat) return new Float(value);
    if (!Number.isSafeInteger(value)) throw templateError(`computes ${value}, beyond exact whole numbers`);
    return value;
  };
  if ((op === "/" || op === "//" || op === "%") && y === 0) throw templateError("divides by zero");
  switch (op) {
    case "+":
      return result(x + y);
    case "-":
      return result(x - y);
    case "*":
      return result(x * y);
    case "/":
      return result(x / y, true);
    case "//":
      return result(Math.floor(x / y));
    case "%":
      return result(x - y * Math.floor(x / y));
    default:
      return result(x ** y, isFloat || y < 0);
  }
}

function loopFacts(items: readonly Value[], index: number): Namespace {
  const loop = new Namespace();
  const { length } = items;
  const facts: [string, Value][] = [
    ["index", index + 1],
    ["index0", index],
    ["revindex", length - index],
    ["revindex0", length - index - 1],
    ["first", index === 0],
    ["last", index === length - 1],
    ["length", length],
    ["depth", 1],
    ["depth0", 0],
    ["previtem", items[index - 1] ?? new Undefined("the item before the first")],
    ["nextitem", items[index + 1] ?? new Undefined("the item after the last")],
    ["cycle", new Callable("cycle", (args) => args[index % Math.max(1, args.length)] ?? null)],
  ];
  for (const [name, value] of facts) loop.fields.set(name, value);
  return loop;
}
