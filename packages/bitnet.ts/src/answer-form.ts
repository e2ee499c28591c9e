/**
 * The form that an answer is to have: JSON by a schema, any JSON object, a text that a pattern matches, one of several texts. Reads the
 * options; the grammar that keeps an answer to them is compiled elsewhere.
 */
import type { GenerateOptions } from "@bitnet.ts/core";
import { BitNetError } from "@bitnet.ts/core/base";
import type { GrammarSpec } from "@bitnet.ts/grammar";
import {
  type Generation,
  type GenerationResult,
  type GenerationSource,
  SingleGeneration,
} from "./generation.ts";
import { kindOf } from "./known-options.ts";
import type { JsonSchema } from "./schema-type.ts";

/** At most one of these. */
export interface FormOptions {
  /** JSON Schema that the answer satisfies. Keywords that cannot be kept to are refused, with their place in the schema. */
  schema?: JsonSchema;
  /** The answer is a JSON object. */
  json?: boolean;
  /** The answer is a text that the whole pattern matches. */
  pattern?: string | RegExp;
  /** The answer is one of these texts. */
  choices?: readonly string[];
}

export type AnswerOptions = GenerateOptions & FormOptions;

/** A generation whose answer is a JSON value. */
export interface ValueGeneration<T> extends Generation {
  /**
   * The value that the answer stands for.
   * @throws BitNetError ANSWER_INCOMPLETE when its tokens or the context ended before the answer did, ABORTED.
   */
  readonly value: Promise<T>;
}

/** Options with a schema, whose type becomes that of the value. */
export type SchemaOptions<S extends JsonSchema> = Omit<AnswerOptions, "schema"> & { schema: S };

export class FormedGeneration extends SingleGeneration implements ValueGeneration<unknown> {
  readonly #signal: AbortSignal | undefined;

  constructor(source: GenerationSource, signal: AbortSignal | undefined) {
    super(source, signal);
    this.#signal = signal;
  }

  get value(): Promise<unknown> {
    return this.result.then((result) => parsedValue(result, this.#signal));
  }
}

function parsedValue({ text, stopReason }: GenerationResult, signal: AbortSignal | undefined): unknown {
  if (stopReason === "abort")
    throw new BitNetError("ABORTED", "generation: it was aborted before its end", { cause: signal?.reason });
  try {
    return JSON.parse(text);
  } catch {
    throw new BitNetError(
      "ANSWER_INCOMPLETE",
      stopReason === "length"
        ? "generation: maxTokens ended the answer before its JSON was complete; allow more tokens"
        : `generation: the answer ended (${stopReason}) before its JSON was complete`,
      { details: { text, stopReason } },
    );
  }
}

/** Takes the form out of the options. @throws BitNetError INVALID_ARGUMENT */
export function takeForm(options: AnswerOptions): { form: GrammarSpec | null; rest: GenerateOptions } {
  const { schema, json, pattern, choices, ...rest } = options;
  const forms = readForms({ schema, json, pattern, choices });
  const [form = null] = forms;
  const fail = (problem: string): never => {
    throw new BitNetError("INVALID_ARGUMENT", `generate: ${problem}`);
  };
  if (forms.length > 1) fail("give one of schema, json, pattern and choices");
  if (form !== null && rest.mask !== undefined) fail("a mask and a form of the answer exclude each other");
  if (form !== null && rest.ignoreEos === true) fail("ignoreEos would never let an answer of a form end");
  return { form, rest };
}

function readForms({
  schema,
  json,
  pattern,
  choices,
}: { [K in keyof FormOptions]: FormOptions[K] | undefined }) {
  const forms: GrammarSpec[] = [];
  const wrong = (name: string, expected: string, found: unknown): never => {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `generate: ${name}: expected ${expected}, found ${kindOf(found)}`,
    );
  };
  if (schema !== undefined) {
    if (typeof schema !== "object" || schema === null || Array.isArray(schema))
      wrong("schema", "a JSON Schema object", schema);
    forms.push({ kind: "schema", schema });
  }
  if (json !== undefined && typeof json !== "boolean") wrong("json", "true or false", json);
  if (json === true) forms.push({ kind: "json" });
  if (pattern !== undefined) {
    if (typeof pattern !== "string" && !(pattern instanceof RegExp)) wrong("pattern", "a pattern", pattern);
    if (pattern instanceof RegExp && /[ims]/.test(pattern.flags))
      throw new BitNetError("INVALID_ARGUMENT", "generate: pattern: the flags i, m and s are not supported");
    forms.push({ kind: "regex", pattern: pattern instanceof RegExp ? pattern.source : pattern });
  }
  if (choices !== undefined) {
    if (!Array.isArray(choices) || !choices.every((each) => typeof each === "string"))
      wrong("choices", "a list of texts", choices);
    forms.push({ kind: "choice", choices });
  }
  return forms;
}
