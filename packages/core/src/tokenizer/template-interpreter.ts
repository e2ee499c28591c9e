/**
 * Runs a chat template's syntax tree within a budget. A template comes with a model file and may be hostile: this
 * interpreter counts evaluation steps and the characters that operations read and write, and looks at operands before
 * operations that could multiply them. The language itself is the Jinja library's.
 */
import { Interpreter } from "@huggingface/jinja";
import { type Budget, spendCharacters, spendSteps } from "./template-budget.ts";
import { chargeArguments, chargeFilter, guardBuiltin } from "./template-operations.ts";
import {
  checkSize,
  fullSize,
  isList,
  isMapping,
  isNode,
  shallowSize,
  type TemplateNode,
  type TemplateScope,
  type TemplateValue,
  templateError,
} from "./template-values.ts";

/** Facts about the syntax tree that the compiler found. */
export interface TreeFacts {
  /** Nodes whose value becomes output. */
  readonly printed: WeakSet<TemplateNode>;
  /** Nodes below each macro and call block, which the library searches whenever it meets them. */
  readonly sizes: WeakMap<TemplateNode, number>;
}

/** Expressions and statements inside one another; each takes a few frames of the JavaScript stack. */
const maxDepth = 400;
/** A value that was computed already, standing in for its node. */
const heldType = "Held";

interface InterpreterBase {
  evaluate(node: TemplateNode | undefined, scope: TemplateScope): TemplateValue;
}

// The library's type declarations do not resolve under this project's module settings; the shape above is all that is used.
const JinjaInterpreter = Interpreter as unknown as new (scope: TemplateScope) => InterpreterBase;

export class BudgetedInterpreter extends JinjaInterpreter {
  private readonly budget: Budget;
  private readonly facts: TreeFacts;
  private readonly mapLiteral: (text: string) => string;
  private depth = 0;

  constructor(
    scope: TemplateScope,
    budget: Budget,
    options: { facts: TreeFacts; mapLiteral: (text: string) => string },
  ) {
    super(scope);
    this.budget = budget;
    this.facts = options.facts;
    this.mapLiteral = options.mapLiteral;
  }

  /** Called by the library for every node, children included. */
  override evaluate(node: TemplateNode | undefined, scope: TemplateScope): TemplateValue {
    if (node === undefined) return super.evaluate(node, scope);
    if (node.type === heldType) return node.held as TemplateValue;
    spendSteps(this.budget, 1);
    if (this.depth >= maxDepth) throw templateError(`nests or recurses more than ${maxDepth} levels deep`);
    this.depth++;
    try {
      const value = this.evaluateChecked(node, scope);
      if (this.facts.printed.has(node)) spendCharacters(this.budget, fullSize(this.budget.measure, value));
      return value;
    } finally {
      this.depth--;
    }
  }

  private evaluateChecked(node: TemplateNode, scope: TemplateScope): TemplateValue {
    switch (node.type) {
      case "StringLiteral":
        return super.evaluate({ ...node, value: this.mapLiteral(String(node.value)) }, scope);
      case "Identifier":
        // Looked for in all surrounding scopes.
        spendSteps(this.budget, this.depth >> 4);
        return super.evaluate(node, scope);
      case "BinaryExpression":
        return this.created(this.evaluateBinary(node, scope));
      case "FilterExpression":
        return this.created(this.evaluateFilter(this.child(node.operand, scope), node.filter, scope));
      case "FilterStatement": {
        const block = this.child({ type: "Program", body: node.body }, scope);
        return this.created(this.evaluateFilter(block, node.filter, scope));
      }
      case "MemberExpression":
        return this.evaluateMember(node, scope);
      case "TestExpression":
        return this.evaluateTest(node, scope);
      case "For":
        return this.created(this.evaluateLoop(node, scope));
      case "Macro":
      case "CallStatement":
        spendSteps(this.budget, this.facts.sizes.get(node) ?? 0);
        return this.created(super.evaluate(node, scope));
      case "If":
      case "Program":
      case "CallExpression":
      case "ArrayLiteral":
      case "TupleLiteral":
      case "ObjectLiteral":
        return this.created(super.evaluate(node, scope));
      default:
        return super.evaluate(node, scope);
    }
  }

  private child(node: unknown, scope: TemplateScope): TemplateValue {
    return this.evaluate(isNode(node) ? node : undefined, scope);
  }

  /** Charges a value that an operation made, and refuses one that writes out too long. */
  private created(value: TemplateValue): TemplateValue {
    fullSize(this.budget.measure, value);
    spendCharacters(this.budget, shallowSize(value));
    return value;
  }

  private evaluateBinary(node: TemplateNode, scope: TemplateScope): TemplateValue {
    const operator = (node.operator as { value: string }).value;
    if (operator === "and" || operator === "or") return super.evaluate(node, scope);
    const left = this.child(node.left, scope);
    const right = this.child(node.right, scope);
    if (!isNothing(left) && !isNothing(right)) {
      const isSearch = operator === "in" || operator === "not in";
      const size = (value: TemplateValue) => fullSize(this.budget.measure, value);
      if (isSearch && isMapping(right)) spendCharacters(this.budget, size(left));
      else if (isSearch) spendCharacters(this.budget, size(right) * (1 + size(left) / 16));
      else if (operator === "+" && isList(left)) spendCharacters(this.budget, shallowSize(left));
      else spendCharacters(this.budget, size(left) + size(right));
      if (operator === "+" || operator === "~") checkSize(this.budget.measure, size(left) + size(right));
    }
    return super.evaluate({ ...node, left: hold(left), right: hold(right) }, scope);
  }

  private evaluateFilter(operand: TemplateValue, filter: unknown, scope: TemplateScope): TemplateValue {
    if (!isNode(filter)) throw templateError("a filter has no name");
    const name = String((filter.type === "CallExpression" ? (filter.callee as TemplateNode) : filter).value);
    chargeFilter(this.budget, name, operand);
    return super.evaluate(
      {
        type: "FilterExpression",
        operand: hold(operand),
        filter: this.holdArguments(name, operand, filter, scope),
      },
      scope,
    );
  }

  /** Evaluates a filter's arguments, so that they can be looked at before the filter runs. */
  private holdArguments(
    name: string,
    operand: TemplateValue,
    filter: TemplateNode,
    scope: TemplateScope,
  ): TemplateNode {
    // These two want their arguments spelled out, which bounds them by the length of the template.
    if (filter.type !== "CallExpression" || name === "selectattr" || name === "rejectattr") return filter;
    const positional: TemplateValue[] = [];
    const named = new Map<string, TemplateValue>();
    const args = (filter.args as TemplateNode[]).map((argument) => {
      if (argument.type === "SpreadExpression" || argument.type === "KeywordSpreadExpression") {
        throw templateError(`unpacks arguments of the filter "${name}", which is not supported`);
      }
      const isNamed = argument.type === "KeywordArgumentExpression";
      const value = this.child(isNamed ? argument.value : argument, scope);
      if (!isNamed) positional.push(value);
      else named.set(String((argument.key as TemplateNode).value), value);
      return isNamed ? { ...argument, value: hold(value) } : hold(value);
    });
    chargeArguments(this.budget, name, operand, { positional, named });
    return { ...filter, args };
  }

  private evaluateMember(node: TemplateNode, scope: TemplateScope): TemplateValue {
    const object = this.child(node.object, scope);
    const property = node.property as TemplateNode;
    if (node.computed === true && property.type === "SliceExpression") {
      spendCharacters(this.budget, shallowSize(object));
      return this.created(super.evaluate({ ...node, object: hold(object) }, scope));
    }
    const key = node.computed === true ? this.child(property, scope) : undefined;
    const held = { ...node, object: hold(object), property: key === undefined ? property : hold(key) };
    const value = super.evaluate(held, scope);
    const name = key === undefined ? property.value : key.value;
    if (value.type === "FunctionValue") guardBuiltin(this.budget, object, String(name), value);
    return value;
  }

  private evaluateTest(node: TemplateNode, scope: TemplateScope): TemplateValue {
    const operand = this.child(node.operand, scope);
    const name = String((node.test as TemplateNode).value);
    if (name === "lower" || name === "upper") spendCharacters(this.budget, shallowSize(operand));
    return super.evaluate({ ...node, operand: hold(operand) }, scope);
  }

  /** A turn of a loop costs a step even when its body is empty. */
  private evaluateLoop(node: TemplateNode, scope: TemplateScope): TemplateValue {
    const iterable = node.iterable as TemplateNode;
    const isFiltered = iterable.type === "SelectExpression";
    const items = this.child(isFiltered ? iterable.lhs : iterable, scope);
    if (isList(items)) spendSteps(this.budget, items.value.length);
    if (isMapping(items)) spendSteps(this.budget, items.value.size);
    return super.evaluate(
      { ...node, iterable: isFiltered ? { ...iterable, lhs: hold(items) } : hold(items) },
      scope,
    );
  }
}

function hold(value: TemplateValue): TemplateNode {
  return { type: heldType, held: value };
}

function isNothing({ type }: TemplateValue): boolean {
  return type === "NullValue" || type === "UndefinedValue";
}
