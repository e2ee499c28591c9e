/**
 * Chat templates: the Jinja programs in model files that turn messages into the text a model was trained on. Rendering is
 * bounded in time and memory whatever the template does. Knows nothing of token ids (encode-chat.ts does).
 */
import { BitNetError } from "../base/errors.ts";
import { type ChatMessage, prepareInput, type TemplateArguments } from "./chat-messages.ts";
import { formatTime } from "./template-clock.ts";
import { type TemplateHabits, templateHabits } from "./template-habits.ts";
import { runTemplate } from "./template-interpreter.ts";
import { lexTemplate } from "./template-lexer.ts";
import { parseParts } from "./template-parser.ts";
import type { Statement } from "./template-tree.ts";
import {
  Callable,
  fromJson,
  isDict,
  Meter,
  numberOf,
  printed,
  templateError,
  type Value,
} from "./template-values.ts";

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
  return message.length > 500 ? `${message.slice(0, 500)}…` : message;
}

interface TemplateTree {
  readonly body: readonly Statement[];
  readonly habits: TemplateHabits;
}

function parseTemplate(source: string): TemplateTree {
  const body = parseParts(lexTemplate(source));
  return { body, habits: templateHabits(body) };
}

function renderTree({ body }: TemplateTree, input: ChatTemplateInput, prepared: string): string {
  const meter = new Meter(limitsFor(input.messages.length, prepared.length));
  const mapLiteral = input.mapLiteral ?? ((literal: string) => literal);
  return runTemplate(body, createGlobals(input, prepared, meter), { meter, mapLiteral });
}

/** Real templates stay far below these; they grow with the input, since every message is worth some work. */
function limitsFor(nMessages: number, inputSize: number) {
  return {
    steps: 400_000 + 4000 * nMessages + inputSize,
    characters: 2 ** 25 + 256 * inputSize,
    value: 2 ** 21 + 4 * inputSize,
  };
}

/** The variables and functions that Hugging Face's renderer provides. */
function createGlobals(input: ChatTemplateInput, prepared: string, meter: Meter): Map<string, Value> {
  const globals = new Map<string, Value>([
    ["add_generation_prompt", input.addGenerationPrompt],
    ["bos_token", input.bosToken],
    ["eos_token", input.eosToken],
    [
      "raise_exception",
      new Callable("raise_exception", ([message]) => {
        throw templateError(printed(message ?? null, meter));
      }),
    ],
    ["range", new Callable("range", (args) => meter.list(countUp(args, meter.longest)))],
  ]);
  const variables = fromJson(JSON.parse(prepared));
  if (isDict(variables)) for (const [name, value] of variables) globals.set(String(name), value);
  const { now } = input;
  if (now !== undefined) {
    const tell = new Callable("strftime_now", ([format]) => formatTime(now, printed(format ?? null, meter)));
    globals.set("strftime_now", tell);
  }
  return globals;
}

/** Python's `range`, refused before it fills memory. */
function countUp(args: readonly Value[], longest: number): number[] {
  const [first, second, third] = args.map(asInteger);
  const start = second === undefined ? 0 : (first ?? 0);
  const stop = second ?? first ?? 0;
  const step = third ?? 1;
  if (step === 0) throw templateError("range() step must not be zero");
  const count = Math.max(0, Math.ceil((stop - start) / step));
  // An element weighs at least as much as 16 characters.
  if (count > longest / 16) throw templateError(`range() of ${count} numbers is too long`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

function asInteger(value: Value): number {
  const number = numberOf(value);
  if (number !== null && Number.isSafeInteger(number) && typeof value !== "object") return number;
  throw templateError("range() takes whole numbers");
}
