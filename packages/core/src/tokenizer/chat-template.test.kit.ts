/** Renders templates for one short conversation. */
import { expect } from "vitest";
import { type ChatTemplateInput, compileChatTemplate } from "./chat-template.ts";

export const input: ChatTemplateInput = {
  messages: [{ role: "user", content: "Hi" }],
  addGenerationPrompt: true,
  bosToken: "<s>",
  eosToken: "</s>",
};
export const render = (source: string, change: Partial<ChatTemplateInput> = {}) =>
  compileChatTemplate(source, "test").render({ ...input, ...change });
export const failed = expect.objectContaining({ code: "TEMPLATE_FAILED" });
