/** What there is to encode, as plain data, and its encoding: the same on whatever thread. Text of users never becomes a control token. */
import type { ChatMessage } from "./chat-messages.ts";
import type { ChatTemplate } from "./chat-template.ts";
import { type EncodeChatOptions, encodeChat } from "./encode-chat.ts";
import { type Conversation, fitChat } from "./fit-chat.ts";
import type { PromptThinking } from "./thinking-marks.ts";
import type { Tokenizer } from "./tokenizer.ts";

export type EncodeJob =
  | {
      readonly kind: "chat";
      readonly messages: readonly ChatMessage[];
      readonly tools: readonly unknown[] | undefined;
      readonly templateArguments: Record<string, unknown> | undefined;
      /** How the answer begins. */
      readonly prefix: string;
    }
  | {
      readonly kind: "conversation";
      readonly conversation: Conversation;
      readonly options: EncodeChatOptions;
    }
  /** `special`: control tokens that are written out count as such. */
  | { readonly kind: "text"; readonly text: string; readonly bos: boolean; readonly special: boolean }
  | { readonly kind: "segments"; readonly segments: readonly (string | number)[] };

export interface EncodedPrompt {
  readonly ids: Int32Array;
  /** Of a chat: what its template has made of it. */
  readonly text: string;
  /** Of a conversation: as `EncodedChat` and `FittedChat` have them. */
  readonly thinking: PromptThinking | null;
  readonly nDropped: number;
}

/** Characters from which on a prompt is long enough for a thread of its own. */
export const longPrompt = 32 * 1024;

/** @throws BitNetError INVALID_ARGUMENT, TEMPLATE_FAILED, CONTEXT_EXCEEDED. @param template Called for chats only. */
export function runEncodeJob(
  job: EncodeJob,
  tokenizer: Tokenizer,
  template: () => ChatTemplate,
): EncodedPrompt {
  const plain = { text: "", thinking: null, nDropped: 0 };
  if (job.kind === "text")
    return { ...plain, ids: tokenizer.encode(job.text, { bos: job.bos, special: job.special }) };
  if (job.kind === "segments") return { ...plain, ids: tokenizer.encodeSegments(job.segments) };
  if (job.kind === "conversation") return fitChat(tokenizer, template(), job.conversation, job.options);
  const { messages, prefix, tools, templateArguments } = job;
  const options = { addGenerationPrompt: true, tools, templateArguments };
  const { ids, text } = encodeChat(tokenizer, template(), messages, options);
  if (prefix === "") return { ...plain, ids, text };
  return { ...plain, ids: Int32Array.from([...ids, ...tokenizer.encode(prefix)]), text: text + prefix };
}

/** Characters that are encoded, about. */
export function encodeJobSize(job: EncodeJob): number {
  if (job.kind === "text") return job.text.length;
  if (job.kind === "segments")
    return job.segments.reduce<number>((sum, part) => sum + (typeof part === "string" ? part.length : 1), 0);
  if (job.kind === "chat") return sizeOfJson([job.messages, job.tools, job.prefix]);
  return sizeOfJson(job.conversation);
}

/** What is no JSON is refused where it is encoded. */
function sizeOfJson(value: unknown): number {
  try {
    return JSON.stringify(value).length;
  } catch {
    return 0;
  }
}
