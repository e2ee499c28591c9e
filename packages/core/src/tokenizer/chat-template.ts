/**
 * Chat templates: the Jinja programs in model files that turn messages into the text a model was trained on. Rendering is
 * bounded in time and memory whatever the template does. Knows nothing of token ids (encode-chat.ts does).
 */
import { Environment } from "@huggingface/jinja";
import { BitNetError } from "../base/errors.ts";
import { type ChatMessage, prepareInput, type TemplateArguments } from "./chat-messages.ts";
import { createBudget } from "./template-budget.ts";
import { formatTime } from "./template-clock.ts";
import { BudgetedInterpreter } from "./template-interpreter.ts";
import { parseTemplate, type TemplateTree } from "./template-syntax.ts";
import { isText, type TemplateScope } from "./template-values.ts";

/** What a template is rendered with. */
export interface ChatTemplateInput {
  /** See `templateMessages` for how they reach the template. */
  readonly messages: readonly ChatMessage[];
  /** End with the beginning of an answer, for the model to continue. */
  readonly addGenerationPrompt: boolean;
  /** Texts of the beginning and end tokens; empty where there is none. */
  readonly bosToken: string;
  readonly eosToken: string;
  /** Descriptions of functions that the model may call: JSON values in the form that the template expects. */
  readonly tools?: readonly unknown[] | undefined;
  /** The time that `strftime_now` tells, in UTC. Without it templates find no such function and use a date of their own. */
  readonly now?: Date | undefined;
  /** Further variables of the template, such as `enable_thinking`: JSON values. */
  readonly arguments?: TemplateArguments | undefined;
  /** Replaces every string that the template itself spells out, text between its tags included. */
  readonly mapLiteral?: ((literal: string) => string) | undefined;
}

/** A parsed template. Immutable, may be shared. */
export interface ChatTemplate {
  /** For messages. */
  readonly name: string;
  readonly source: string;
  /**
   * @example
   * template.render({ messages: [{ role: "user", content: "Hi" }], addGenerationPrompt: true, bosToken: "", eosToken: "" });
   * @throws BitNetError INVALID_ARGUMENT for malformed messages, TEMPLATE_FAILED when the template raises an error, asks
   * for something that is not supported or uses up its budget.
   */
  render(input: ChatTemplateInput): string;
}

/**
 * Parses a template.
 * @param name For messages, such as "tokenizer_config.json".
 * @throws BitNetError TEMPLATE_FAILED when it cannot be parsed, or is longer or deeper than any real template.
 */
export function compileChatTemplate(source: string, name: string): ChatTemplate {
  const tree = failAs(name, "cannot be parsed", () => parseTemplate(source));
  return {
    name,
    source,
    render(input) {
      const prepared = prepareInput(input, tree.habits);
      return failAs(name, "failed", () => renderTree(tree, input, prepared));
    },
  };
}

/** Runs `action`; whatever it throws becomes TEMPLATE_FAILED with the template's name in front. */
function failAs<T>(name: string, what: string, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new BitNetError("TEMPLATE_FAILED", `chat template "${name}" ${what}: ${reasonOf(cause, message)}`, {
      cause,
      details: { template: name },
    });
  }
}

function reasonOf(cause: unknown, message: string): string {
  if (cause instanceof RangeError && /stack/i.test(message)) return "it nests or recurses too deeply";
  // The library's parser reads on past the last word.
  if (cause instanceof TypeError && /undefined/.test(message))
    return `something is missing in it (${message})`;
  return message.length > 500 ? `${message.slice(0, 500)}…` : message;
}

function renderTree({ program, facts }: TemplateTree, input: ChatTemplateInput, prepared: string): string {
  const limits = limitsFor(input.messages.length, prepared.length);
  const scope = createScope(input, prepared, limits.value);
  const mapLiteral = input.mapLiteral ?? ((literal: string) => literal);
  const result = new BudgetedInterpreter(scope, createBudget(limits), { facts, mapLiteral }).evaluate(
    program,
    scope,
  );
  return isText(result) ? result.value : "";
}

/** Real templates stay far below these; they grow with the input, since every message is worth some work. */
function limitsFor(nMessages: number, inputSize: number) {
  return {
    steps: 100_000 + 1000 * nMessages + inputSize,
    characters: 2 ** 25 + 256 * inputSize,
    value: 2 ** 21 + 4 * inputSize,
  };
}

/** The variables and functions that Hugging Face's renderer provides. */
function createScope(input: ChatTemplateInput, prepared: string, maxValue: number): TemplateScope {
  const scope = new (Environment as unknown as new () => TemplateScope)();
  const constants = { true: true, True: true, false: false, False: false, none: null, None: null };
  const variables = {
    ...constants,
    // Through JSON: no functions, no cycles.
    ...JSON.parse(prepared),
    add_generation_prompt: input.addGenerationPrompt,
    bos_token: input.bosToken,
    eos_token: input.eosToken,
    raise_exception: (message: unknown) => {
      throw new Error(String(message));
    },
    range: (start: unknown, stop?: unknown, step?: unknown) => countUp([start, stop, step], maxValue),
  };
  for (const [name, value] of Object.entries(variables)) scope.set(name, value);
  const { now } = input;
  if (now !== undefined) scope.set("strftime_now", (format: unknown) => formatTime(now, String(format)));
  return scope;
}

/** Python's `range`, refused before it fills memory. */
function countUp(args: readonly unknown[], maxValue: number): number[] {
  const [first, second, third] = args.map((value) => (value === undefined ? value : asInteger(value)));
  const start = second === undefined ? 0 : (first ?? 0);
  const stop = second ?? first ?? 0;
  const step = third ?? 1;
  if (step === 0) throw new Error("range() step must not be zero");
  const count = Math.max(0, Math.ceil((stop - start) / step));
  // An element weighs at least as much as 16 characters.
  if (count > maxValue / 16) throw new Error(`range() of ${count} numbers is too long`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

function asInteger(value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  throw new Error("range() takes whole numbers");
}
