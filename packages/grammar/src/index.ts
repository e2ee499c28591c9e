/** @bitnet.ts/grammar: answers in a form that is given: JSON by schema, patterns, choices, calls of tools. */
export { checkSchema } from "./check-schema.ts";
export { type Grammar, GrammarCompiler, type GrammarCompilerOptions } from "./grammar-compiler.ts";
export type { CallableTool, GrammarSpec } from "./grammar-spec.ts";
