/**
 * What a template's syntax tree tells about how it treats messages: which roles it knows, whether it prints them, and
 * whether it looks into the parts of a content. Knows nothing of rendering.
 */
import { isNode, type TemplateNode } from "./template-values.ts";

export interface TemplateHabits {
  /** Every string that the template spells out. */
  readonly literals: ReadonlySet<string>;
  /** It prints the role itself, so that roles it does not name pass through it. */
  readonly printsRole: boolean;
  /** It goes over the parts of a content that is a list. */
  readonly readsParts: boolean;
}

export function templateHabits(program: TemplateNode): TemplateHabits {
  const habits = { literals: new Set<string>(), printsRole: false, readsParts: false };
  visit(program, habits);
  return habits;
}

const comparisons: ReadonlySet<unknown> = new Set(["==", "!=", "in", "not in"]);

function visit(
  node: TemplateNode,
  habits: { -readonly [K in keyof TemplateHabits]: TemplateHabits[K] },
): void {
  if (node.type === "StringLiteral") (habits.literals as Set<string>).add(String(node.value));
  if (isFieldOf(node, "role")) habits.printsRole = true;
  if (node.type === "For" && isNode(node.iterable)) {
    const { iterable } = node;
    const list = iterable.type === "SelectExpression" && isNode(iterable.lhs) ? iterable.lhs : iterable;
    if (isFieldOf(list, "content") || isName(list, "content")) habits.readsParts = true;
  }
  const isComparison =
    node.type === "BinaryExpression" &&
    comparisons.has((node.operator as { value?: unknown } | undefined)?.value);
  for (const value of Object.values(node)) {
    for (const child of nodesIn(value)) {
      // A role that is only compared is not printed.
      if (isComparison && isFieldOf(child, "role")) continue;
      visit(child, habits);
    }
  }
}

/** `x.name` or `x['name']`. */
function isFieldOf(node: TemplateNode, name: string): boolean {
  if (node.type !== "MemberExpression" || !isNode(node.property)) return false;
  const { property } = node;
  return (
    property.type === (node.computed === true ? "StringLiteral" : "Identifier") && property.value === name
  );
}

function isName(node: TemplateNode, name: string): boolean {
  return node.type === "Identifier" && node.value === name;
}

function nodesIn(value: unknown): TemplateNode[] {
  if (isNode(value)) return [value];
  if (Array.isArray(value)) return value.filter(isNode);
  return value instanceof Map ? [...value].flat().filter(isNode) : [];
}
