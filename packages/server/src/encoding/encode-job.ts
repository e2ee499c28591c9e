/** What there is to encode, as plain data, and its encoding: the same on whatever thread. Text of users never becomes a control token. */
import { type ChatMessage, type ChatTemplate, encodeChat, type Tokenizer } from "@bitnet.ts/core";

export type EncodeJob =
  | {
      readonly kind: "chat";
      readonly messages: readonly ChatMessage[];
      readonly tools: readonly unknown[] | undefined;
      readonly templateArguments: Record<string, unknown> | undefined;
      /** How the answer begins. */
      readonly prefix: string;
    }
  /** `special`: control tokens that are written out count as such. */
  | { readonly kind: "text"; readonly text: string; readonly bos: boolean; readonly special: boolean }
  | { readonly kind: "segments"; readonly segments: readonly (string | number)[] };

export interface Encoded {
  readonly ids: Int32Array<ArrayBuffer>;
  /** Of a chat: what its template has made of it. */
  readonly text: string;
}

/** @throws BitNetError INVALID_ARGUMENT, TEMPLATE_FAILED. @param template Called for chats only. */
export function runJob(job: EncodeJob, tokenizer: Tokenizer, template: () => ChatTemplate): Encoded {
  if (job.kind === "text")
    return {
      ids: Int32Array.from(tokenizer.encode(job.text, { bos: job.bos, special: job.special })),
      text: "",
    };
  if (job.kind === "segments")
    return { ids: Int32Array.from(tokenizer.encodeSegments(job.segments)), text: "" };
  const { messages, prefix, tools, templateArguments } = job;
  const options = { addGenerationPrompt: true, tools, templateArguments };
  const { ids, text } = encodeChat(tokenizer, template(), messages, options);
  const tail = prefix === "" ? [] : tokenizer.encode(prefix);
  return { ids: Int32Array.from([...ids, ...tail]), text: text + prefix };
}

/** Characters that are encoded, about. */
export function sizeOf(job: EncodeJob): number {
  if (job.kind === "text") return job.text.length;
  if (job.kind === "segments")
    return job.segments.reduce<number>((sum, part) => sum + (typeof part === "string" ? part.length : 1), 0);
  return JSON.stringify([job.messages, job.tools ?? null, job.prefix]).length;
}
