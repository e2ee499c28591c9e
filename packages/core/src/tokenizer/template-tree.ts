/** The syntax tree of a template. */
import type { Value } from "./template-values.ts";

export type Expr =
  | { readonly type: "value"; readonly value: Value }
  | { readonly type: "string"; readonly text: string }
  | { readonly type: "name"; readonly name: string }
  | { readonly type: "list" | "tuple"; readonly items: readonly Expr[] }
  | { readonly type: "dict"; readonly entries: readonly { readonly key: Expr; readonly value: Expr }[] }
  | { readonly type: "field"; readonly object: Expr; readonly name: string }
  | { readonly type: "item"; readonly object: Expr; readonly key: Expr }
  | {
      readonly type: "slice";
      readonly start: Expr | null;
      readonly stop: Expr | null;
      readonly step: Expr | null;
    }
  | CallExpr
  | { readonly type: "filter"; readonly operand: Expr; readonly name: string; readonly args: Args }
  | {
      readonly type: "test";
      readonly operand: Expr;
      readonly name: string;
      readonly args: Args;
      readonly isNegated: boolean;
    }
  | { readonly type: "not"; readonly operand: Expr }
  | { readonly type: "sign"; readonly isNegative: boolean; readonly operand: Expr }
  | { readonly type: "and" | "or"; readonly left: Expr; readonly right: Expr }
  | { readonly type: "binary"; readonly op: string; readonly left: Expr; readonly right: Expr }
  | {
      readonly type: "compare";
      readonly first: Expr;
      readonly rest: readonly { readonly op: string; readonly value: Expr }[];
    }
  | { readonly type: "branch"; readonly test: Expr; readonly value: Expr; readonly otherwise: Expr | null }
  /** What a filter or set block has written. */
  | { readonly type: "block" };

export interface CallExpr {
  readonly type: "call";
  readonly callee: Expr;
  readonly args: Args;
}

export interface Args {
  readonly positional: readonly { readonly isSpread: boolean; readonly value: Expr }[];
  /** Without a name: a mapping that is unpacked. */
  readonly named: readonly { readonly name: string | null; readonly value: Expr }[];
}

export type Target =
  | { readonly type: "name"; readonly name: string }
  | { readonly type: "field"; readonly name: string; readonly field: string }
  | { readonly type: "tuple"; readonly items: readonly Target[] };

export interface Param {
  readonly name: string;
  readonly byDefault: Expr | null;
}

export type Statement =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "print"; readonly value: Expr }
  | {
      readonly type: "if";
      readonly test: Expr;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | {
      readonly type: "for";
      readonly target: Target;
      readonly items: Expr;
      readonly test: Expr | null;
      readonly body: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | { readonly type: "set"; readonly target: Target; readonly value: Expr }
  | {
      readonly type: "setblock";
      readonly target: Target;
      readonly filter: Expr | null;
      readonly body: readonly Statement[];
    }
  | {
      readonly type: "macro";
      readonly name: string;
      readonly params: readonly Param[];
      readonly body: readonly Statement[];
    }
  | {
      readonly type: "callblock";
      readonly call: CallExpr;
      readonly params: readonly Param[];
      readonly body: readonly Statement[];
    }
  | { readonly type: "filterblock"; readonly filter: Expr; readonly body: readonly Statement[] }
  | {
      readonly type: "with";
      readonly bindings: readonly { readonly target: Target; readonly value: Expr }[];
      readonly body: readonly Statement[];
    }
  | { readonly type: "break" | "continue" };
