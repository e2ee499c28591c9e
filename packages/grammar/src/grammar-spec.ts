/** What an answer may look like. Plain data, so that it can be sent to a worker and compared as JSON. */

export interface CallableTool {
  readonly name: string;
  /** JSON Schema of the arguments. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Keep to what of the schema can be kept to, instead of refusing it. */
  readonly isLoose?: boolean;
}

export type GrammarSpec =
  /** A JSON value that satisfies the schema. */
  | { readonly kind: "schema"; readonly schema: unknown }
  /** Any JSON object. */
  | { readonly kind: "json" }
  /** A text that the whole pattern matches. */
  | { readonly kind: "regex"; readonly pattern: string }
  /** One of the texts. */
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  /** Calls of tools, `begin` JSON `end`; `mustCall`: nothing but calls, at least one; else text with calls in it. */
  | {
      readonly kind: "calls";
      readonly begin: string;
      readonly end: string;
      readonly tools: readonly CallableTool[];
      readonly mustCall: boolean;
      readonly several: boolean;
    };
