/**
 * Which chat template a model uses: the one in its files, except where that is known to be wrong, and BitNet's where
 * there is none.
 */
import { BitNetError } from "../base/errors.ts";
import { type ChatTemplate, compileChatTemplate } from "./chat-template.ts";
import { asString, elements, isAbsent, type Located, member } from "./json-value.ts";

/** BitNet b1.58 2B-4T: the beginning token, then `Role: content<|eot_id|>` per message, then `Assistant: `. */
export const bitnetChatTemplate =
  "{% set loop_messages = messages %}{% for message in loop_messages %}" +
  "{% set content = message['role'] | capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}" +
  "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";

/**
 * Compiles the template of a model.
 * @param source From `tokenizer.chat_template` of a GGUF file or `chatTemplateSource`; `null` where there is none.
 * @param name For messages: the file.
 * @param usual The template of the model's family, where the file has none.
 * @throws BitNetError TEMPLATE_FAILED when it cannot be parsed, or there is none.
 */
export function chatTemplateFor(
  source: string | null,
  name: string,
  usual: "bitnet" | null = "bitnet",
): ChatTemplate {
  if (source === null && usual === null) {
    throw new BitNetError(
      "TEMPLATE_FAILED",
      `${name}: the model has no chat template, and its family has no usual one; generate from a prompt instead`,
    );
  }
  if (source === null) return compileChatTemplate(bitnetChatTemplate, "BitNet (default)");
  // Microsoft's GGUF file carries "Human: … BITNETAssistant: ", which is not what the model was trained with.
  if (source.includes("BITNETAssistant")) {
    return compileChatTemplate(bitnetChatTemplate, `BitNet (in place of the one in ${name})`);
  }
  return compileChatTemplate(source, name);
}

/**
 * The template in a parsed tokenizer_config.json: a string, or a list of named ones of which "default" is taken.
 * @throws BitNetError TOKENIZER_INVALID when it is something else.
 */
export function chatTemplateSource(config: unknown): string | null {
  const root: Located = { value: config ?? {}, where: "tokenizer_config.json:" };
  const template = member(root, "chat_template");
  if (isAbsent(template)) return null;
  if (!Array.isArray(template.value)) return asString(template);
  const chosen = elements(template).find((entry) => member(entry, "name").value === "default");
  return chosen === undefined ? null : asString(member(chosen, "template"));
}
