/**
 * Messages to token ids: renders a chat template and encodes the result so that control tokens come from the template
 * alone. Knows nothing of models.
 */
import { BitNetError } from "../base/errors.ts";
import { createChatMarkers } from "./chat-markers.ts";
import { type ChatMessage, inputText, type TemplateArguments } from "./chat-messages.ts";
import type { ChatTemplate } from "./chat-template.ts";
import { findThinking, hasThinkingSwitch, type PromptThinking } from "./thinking-marks.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface EncodeChatOptions {
  /** End with the beginning of an answer, for the model to continue. */
  readonly addGenerationPrompt: boolean;
  /** As in `ChatTemplateInput`. */
  readonly tools?: readonly unknown[] | undefined;
  /** Further variables of the template; JSON values. */
  readonly templateArguments?: TemplateArguments | undefined;
  /** Whether the model is to think before it answers, where its template has that choice (`enable_thinking`). */
  readonly enableThinking?: boolean | undefined;
  readonly now?: Date | undefined;
}

export interface EncodedChat {
  /** What the template rendered, control tokens written out. */
  readonly text: string;
  /** Begins with exactly one beginning-of-text token where the template prints one or the model expects one. */
  readonly ids: Int32Array;
  /** The marks of the model's thinking, for the generation to tell it from the answer; `null` where there are none. */
  readonly thinking: PromptThinking | null;
}

/**
 * Renders and encodes a conversation. Control tokens that users write out in messages are encoded as ordinary text.
 * @example
 * const { ids } = encodeChat(tokenizer, template, [{ role: "user", content: "Hi" }], { addGenerationPrompt: true });
 * @throws BitNetError INVALID_ARGUMENT for malformed messages, TEMPLATE_FAILED as `ChatTemplate.render`.
 */
export function encodeChat(
  tokenizer: Tokenizer,
  template: ChatTemplate,
  messages: readonly ChatMessage[],
  options: EncodeChatOptions,
): EncodedChat {
  const { bosId, eosIds } = tokenizer;
  const textOf = (id: number | null | undefined) => (typeof id === "number" ? tokenizer.decode([id]) : "");
  const args = {
    ...options.templateArguments,
    ...(options.enableThinking === undefined ? {} : { enable_thinking: options.enableThinking }),
  };
  const input = { messages, tools: options.tools, arguments: args };
  checkThinking(tokenizer, template, options.enableThinking);
  const markers = createChatMarkers(tokenizer, [template.source, inputText(input)]);
  const rendered = template.render({
    ...input,
    addGenerationPrompt: options.addGenerationPrompt,
    bosToken: markers.mark(textOf(bosId)),
    eosToken: markers.mark(textOf(eosIds[0])),
    now: options.now,
    mapLiteral: markers.mark,
  });
  const segments = markers.resolve(rendered);
  const text = segments.map((part) => (typeof part === "string" ? part : textOf(part))).join("");
  const ids = tokenizer.encodeSegments(withOneBeginning(segments, tokenizer));
  return { text, ids, thinking: findThinking(tokenizer, template.source, text) };
}

/** A switch that nothing reads would be a promise that nobody keeps. */
function checkThinking(
  tokenizer: Tokenizer,
  { name, source }: ChatTemplate,
  isWanted: boolean | undefined,
): void {
  if (isWanted === undefined || hasThinkingSwitch(source)) return;
  const canThink = findThinking(tokenizer, source, "") !== null;
  if (canThink === isWanted) return;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `chat: enableThinking is ${isWanted}, but the template "${name}" ${canThink ? "has no way to stop its model from thinking" : "knows no thinking"}`,
  );
}

/** Template and tokenizer may both ask for the beginning token, or neither. */
function withOneBeginning(
  segments: readonly (string | number)[],
  { bosId, addBos }: Tokenizer,
): (string | number)[] {
  if (bosId === null) return [...segments];
  const first = segments.findIndex((part) => part !== bosId);
  const leading = first < 0 ? segments.length : first;
  const rest = segments.slice(leading);
  return leading > 0 || addBos ? [bosId, ...rest] : rest;
}
