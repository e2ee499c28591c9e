/**
 * Turns a chat template's text into a syntax tree, refusing texts that the Jinja library's lexer and parser would be slow
 * on, and gathers what the budget needs to know about the tree.
 */
import { parse, tokenize } from "@huggingface/jinja";
import { type TemplateHabits, templateHabits } from "./template-habits.ts";
import type { TreeFacts } from "./template-interpreter.ts";
import { isNode, type TemplateNode, templateError } from "./template-values.ts";

export interface TemplateTree {
  readonly program: TemplateNode;
  readonly facts: TreeFacts;
  readonly habits: TemplateHabits;
}

const maxSourceLength = 131_072;
/** The lexer tries an expression at each place of a run of white space that walks the rest of the run. */
const maxSpaceRun = 1000;
const maxDepth = 1000;
/** Names that one statement binds: parameters of a macro, targets of an assignment or loop. */
const maxBound = 64;
/** Fields whose nodes are rendered one after the other. */
const blockFields: ReadonlySet<string> = new Set(["body", "alternate", "defaultBlock"]);

/** @throws BitNetError TEMPLATE_FAILED when it is too long or too deep; the library's own errors for bad syntax. */
export function parseTemplate(source: string): TemplateTree {
  if (source.length > maxSourceLength) {
    throw templateError(`has ${source.length} characters, at most ${maxSourceLength} are supported`);
  }
  const longestRun = longestSpaceRun(source);
  if (longestRun > maxSpaceRun) {
    throw templateError(
      `has ${longestRun} white-space characters in a row, at most ${maxSpaceRun} are supported`,
    );
  }
  // Options of Hugging Face's renderer: a block's own line leaves no empty line behind.
  const program: unknown = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  if (!isNode(program)) throw templateError("has no syntax tree");
  const facts = { printed: new WeakSet<TemplateNode>(), sizes: new WeakMap<TemplateNode, number>() };
  inspect(program, facts, 0);
  return { program, facts, habits: templateHabits(program) };
}

function longestSpaceRun(source: string): number {
  let longest = 0;
  let run = 0;
  for (let i = 0; i < source.length; i++) {
    run = /\s/.test(source[i] ?? "") ? run + 1 : 0;
    if (run > longest) longest = run;
  }
  return longest;
}

/** @returns Nodes below and including this one. */
function inspect(node: TemplateNode, facts: TreeFacts, depth: number): number {
  if (depth > maxDepth) throw templateError(`nests more than ${maxDepth} levels deep`);
  checkBound(node);
  let size = 1;
  for (const [field, value] of Object.entries(node)) {
    for (const child of childrenOf(value)) {
      size += inspect(child, facts, depth + 1);
      if (blockFields.has(field)) facts.printed.add(child);
    }
  }
  if (node.type === "Macro" || node.type === "CallStatement") facts.sizes.set(node, size);
  return size;
}

function childrenOf(value: unknown): TemplateNode[] {
  if (isNode(value)) return [value];
  if (Array.isArray(value)) return value.filter(isNode);
  return value instanceof Map ? [...value].flat().filter(isNode) : [];
}

function checkBound(node: TemplateNode): void {
  const target = isNode(node.assignee) ? node.assignee : isNode(node.loopvar) ? node.loopvar : null;
  const targets = target?.type === "TupleLiteral" ? target.value : [];
  for (const list of [targets, node.type === "Macro" ? node.args : [], node.callerArgs]) {
    if (Array.isArray(list) && list.length > maxBound) {
      throw templateError(`binds ${list.length} names at once, at most ${maxBound} are supported`);
    }
  }
}
