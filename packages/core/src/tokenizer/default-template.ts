/**
 * Which chat template a model uses: the one in its files, except where that is known to be wrong, and BitNet's where
 * there is none.
 */
import { BitNetError } from "../base/errors.ts";
import { type ChatTemplate, compileChatTemplate } from "./chat-template.ts";
import { asString, elements, isAbsent, isRecord, type Located, member, mismatch } from "./json-value.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** BitNet b1.58 2B-4T: the beginning token, then `Role: content<|eot_id|>` per message, then `Assistant: `. */
export const bitnetChatTemplate =
  "{% set loop_messages = messages %}{% for message in loop_messages %}" +
  "{% set content = message['role'] | capitalize + ': '+ message['content'] | trim + '<|eot_id|>' %}" +
  "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";

/** A template's source, `null` where there is none, or what is wrong with it, to be thrown when a chat is asked for. */
export type TemplateSource = string | null | BitNetError;

/**
 * Compiles the template of a model.
 * @param source From `ggufTemplateSource` or `chatTemplateSource`.
 * @param name For messages: the file.
 * @param usual The template of the model's family, where the file has none.
 * @param tokenizer Must know the tokens of the family's template.
 * @throws BitNetError TEMPLATE_FAILED when it cannot be parsed, or there is none; `source` where it is an error.
 */
export function chatTemplateFor(
  source: TemplateSource,
  name: string,
  usual: "bitnet" | null = "bitnet",
  tokenizer?: Pick<Tokenizer, "idOf">,
): ChatTemplate {
  if (source instanceof BitNetError) throw source;
  if (source === null && usual === null) {
    throw new BitNetError(
      "TEMPLATE_FAILED",
      `${name}: the model has no chat template, and its family has no usual one; generate from a prompt instead`,
    );
  }
  if (source !== null && !isWrongTemplate(source)) return compileChatTemplate(source, name);
  if (tokenizer !== undefined && tokenizer.idOf("<|eot_id|>") === null) {
    throw new BitNetError(
      "TEMPLATE_FAILED",
      `${name}: the model has no chat template of its own, and BitNet's needs the token "<|eot_id|>", which its vocabulary lacks; ` +
        "generate from a prompt instead",
    );
  }
  return compileChatTemplate(
    bitnetChatTemplate,
    source === null ? "BitNet (default)" : `BitNet (in place of the one in ${name})`,
  );
}

/**
 * The template in a parsed tokenizer_config.json: a string, or several by name of which "default" is taken, as a list or an
 * object. An empty string means that there is none.
 */
export function chatTemplateSource(config: unknown): TemplateSource {
  const root: Located = { value: config ?? {}, where: "tokenizer_config.json:" };
  const template = member(root, "chat_template");
  try {
    if (isAbsent(template)) return null;
    if (typeof template.value === "string") return template.value === "" ? null : template.value;
    return chosenTemplate(namedTemplates(template), template.where);
  } catch (error) {
    if (error instanceof BitNetError) return error;
    throw error;
  }
}

function namedTemplates(template: Located): Map<string, string> {
  if (isRecord(template.value))
    return new Map(Object.keys(template.value).map((name) => [name, asString(member(template, name))]));
  if (!Array.isArray(template.value)) mismatch(template, "a template, or templates by name");
  return new Map(
    elements(template).map((entry) => [asString(member(entry, "name")), asString(member(entry, "template"))]),
  );
}

function chosenTemplate(templates: ReadonlyMap<string, string>, where: string): TemplateSource {
  const chosen = templates.get("default");
  if (chosen !== undefined) return chosen === "" ? null : chosen;
  const names = [...templates.keys()].slice(0, 8).map((name) => JSON.stringify(name.slice(0, 40)));
  return new BitNetError(
    "TEMPLATE_FAILED",
    `${where}: expected a template named "default", found ${names.join(", ") || "none"}; none of them is for ordinary chats`,
  );
}

/** The template in GGUF metadata: `tokenizer.chat_template`, beside which others may stand by name. */
export function ggufTemplateSource(metadata: { get(key: string): unknown }): TemplateSource {
  const key = "tokenizer.chat_template";
  const value = metadata.get(key);
  if (typeof value === "string" && value !== "") return value;
  if (value !== undefined && value !== "")
    return new BitNetError("TOKENIZER_INVALID", `gguf: ${key}: expected a string, found ${typeof value}`);
  const names = metadata.get("tokenizer.chat_templates");
  if (!Array.isArray(names) || names.length === 0) return null;
  const templates = names.map(String).map((name) => [name, metadata.get(`${key}.${name}`)] as const);
  return chosenTemplate(
    new Map(templates.filter((entry): entry is [string, string] => typeof entry[1] === "string")),
    `gguf: ${key}`,
  );
}

/** Microsoft's GGUF file carries "Human: … BITNETAssistant: ", which is not what the model was trained with. */
export function isWrongTemplate(source: string): boolean {
  return source.includes("BITNETAssistant");
}
