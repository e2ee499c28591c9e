/**
 * What a template's syntax tree tells without running it: filters and tests that do not exist, which roles it knows, whether it
 * prints them, and whether it looks into the parts of a content.
 */
import { hasFilter, hasTest } from "./template-filters.ts";
import type { Expr, Statement } from "./template-tree.ts";
import { templateError } from "./template-values.ts";

export interface TemplateHabits {
  /** Every string that the template spells out. */
  readonly literals: ReadonlySet<string>;
  /** It prints the role itself, so that roles it does not name pass through it. */
  readonly printsRole: boolean;
  /** It goes over the parts of a content that is a list. */
  readonly readsParts: boolean;
}

interface Node {
  readonly type: string;
}

const maxDepth = 1000;

/** @throws BitNetError TEMPLATE_FAILED for a filter or test that does not exist, and for a tree that is too deep to run. */
export function templateHabits(body: readonly Statement[]): TemplateHabits {
  const habits = { literals: new Set<string>(), printsRole: false, readsParts: false };
  for (const statement of body) visit(statement, habits, 0);
  return habits;
}

type Habits = { literals: Set<string>; printsRole: boolean; readsParts: boolean };

function visit(node: Expr | Statement, habits: Habits, depth: number): void {
  if (depth > maxDepth) throw templateError(`nests more than ${maxDepth} levels deep`);
  if (node.type === "string") habits.literals.add(node.text);
  if (node.type === "filter" && !hasFilter(node.name))
    throw templateError(`uses the filter "${node.name}", which is unknown or not supported`);
  if (node.type === "test" && !hasTest(node.name))
    throw templateError(`uses the test "${node.name}", which is unknown or not supported`);
  if (isField(node, "role")) habits.printsRole = true;
  if (
    node.type === "for" &&
    (isField(node.items, "content") || (node.items.type === "name" && node.items.name === "content"))
  )
    habits.readsParts = true;
  for (const child of childrenOf(node)) {
    // A role that is only compared is not printed.
    if (node.type === "compare" && isField(child, "role")) continue;
    visit(child, habits, depth + 1);
  }
  if (node.type === "compare") {
    for (const part of node.rest) if (!isField(part.value, "role")) visit(part.value, habits, depth + 1);
  }
}

/** `x.name` or `x['name']`. */
function isField(node: Expr | Statement, name: string): boolean {
  if (node.type === "field") return node.name === name;
  return node.type === "item" && node.key.type === "string" && node.key.text === name;
}

function isNode(value: unknown): value is Expr | Statement {
  return typeof value === "object" && value !== null && typeof (value as Partial<Node>).type === "string";
}

/** Nodes directly below, through the records and lists between; what comparisons compare with is left to the caller. */
function childrenOf(node: Expr | Statement): (Expr | Statement)[] {
  const found: (Expr | Statement)[] = [];
  const collect = (value: unknown) => {
    if (isNode(value)) found.push(value);
    else if (Array.isArray(value)) for (const item of value) collect(item);
    else if (typeof value === "object" && value !== null)
      for (const item of Object.values(value)) collect(item);
  };
  for (const [field, value] of Object.entries(node)) {
    if (node.type === "compare" && field === "rest") continue;
    if (node.type !== "value") collect(value);
  }
  return found;
}
