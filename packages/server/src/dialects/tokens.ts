/** Text to tokens and back, in llama-server's form and in that of vLLM and lm-evaluation-harness, on the same routes. */

import { encodePrompt } from "bitnet.ts";
import { encodeChatRequest } from "../chat-core.ts";
import { invalid } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { checkPromptSize } from "../prompts.ts";
import { readChat } from "./openai-chat.ts";

export async function tokenize(exchange: Exchange): Promise<void> {
  const { body } = exchange;
  const text = body.string("content") ?? body.requiredString("prompt");
  const special = body.boolean("parse_special") ?? true;
  const wantsPieces = body.boolean("with_pieces") ?? false;
  checkPromptSize(text.length, exchange.serving.settings);
  const addSpecial = body.boolean("add_special") ?? body.boolean("add_special_tokens") ?? false;
  const { model } = await exchange.start(body.string("model", 256));
  const { tokenizer } = model;
  const job = { kind: "text", text, special, bos: addSpecial && tokenizer.addBos } as const;
  const ids = Array.from((await encodePrompt(model, job, exchange.signal)).ids);
  const tokens = wantsPieces
    ? ids.map((id) => ({ id, piece: pieceOf(tokenizer.decode([id]), tokenizer.tokenBytes(id)) }))
    : ids;
  exchange.sendJson({ tokens, count: ids.length, max_model_len: model.info.contextLength });
}

/** Tokens that are no text of their own come as bytes. */
function pieceOf(text: string, bytes: Uint8Array): string | number[] {
  return text.includes("\ufffd") ? Array.from(bytes) : text;
}

export async function detokenize(exchange: Exchange): Promise<void> {
  const { body } = exchange;
  const list = body.list("tokens", 1_000_000);
  if (list === undefined) throw invalid("tokens", "a list of token ids");
  const { model } = await exchange.start(body.string("model", 256));
  const { vocabSize } = model.tokenizer;
  if (!list.every((id) => Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < vocabSize))
    throw invalid("tokens", `token ids from 0 to ${vocabSize - 1}`);
  const text = model.tokenizer.decode(list as number[]);
  exchange.sendJson({ content: text, prompt: text });
}

export async function applyTemplate(exchange: Exchange): Promise<void> {
  const request = readChat(exchange.body);
  checkPromptSize(JSON.stringify(request.messages).length / 2, exchange.serving.settings);
  const lease = await exchange.start(request.model);
  exchange.sendJson({ prompt: (await encodeChatRequest(exchange, lease, request)).text });
}

export async function tokenizerInfo(exchange: Exchange): Promise<void> {
  const { model } = await exchange.start(undefined);
  const { tokenizer } = model;
  const textOf = (id: number | null | undefined) => (typeof id === "number" ? tokenizer.decode([id]) : null);
  exchange.sendJson({
    tokenizer_class: "bitnet.ts",
    bos_token: textOf(tokenizer.bosId),
    eos_token: textOf(tokenizer.eosIds[0]),
    pad_token: textOf(tokenizer.eosIds[0]),
    chat_template: model.template.source,
  });
}

export async function props(exchange: Exchange): Promise<void> {
  const { serving } = exchange;
  const { model, name } = await exchange.start(undefined);
  const { tokenizer } = model;
  const textOf = (id: number | null | undefined) => (typeof id === "number" ? tokenizer.decode([id]) : "");
  exchange.sendJson({
    default_generation_settings: {
      n_ctx: model.info.contextLength,
      params: {
        temperature: 0.7,
        top_p: 0.9,
        top_k: 0,
        min_p: 0,
        repeat_penalty: 1.05,
        n_predict: serving.settings.defaultOutputTokens,
      },
    },
    total_slots: serving.settings.parallel,
    model_alias: name,
    model_path: name,
    chat_template: model.template.source,
    bos_token: textOf(tokenizer.bosId),
    eos_token: textOf(tokenizer.eosIds[0]),
    build_info: `bitnet.ts ${serving.version}`,
    is_sleeping: false,
  });
}
