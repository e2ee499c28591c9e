/** What a model learns from: a text, or a conversation. And how each becomes token ids with weights. */
import {
  BitNetError,
  type ChatMessage,
  type ChatTemplate,
  encodeChat,
  type Tokenizer,
} from "@bitnet.ts/core";

export type Example =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] };

/** A document as the trainer sees it. */
export interface EncodedExample {
  readonly ids: Int32Array;
  /** How much the prediction of each token counts; that of the first never does. */
  readonly weights: Float32Array;
}

export interface EncodeSettings {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** Weight of what the assistant does not say: 0 masks it. */
  readonly otherWeight: number;
}

/** @throws BitNetError TEMPLATE_FAILED when the template does not render turns one after another. */
export function encodeExample(example: Example, settings: EncodeSettings): EncodedExample {
  return example.kind === "text"
    ? encodeText(example.text, settings)
    : encodeTurns(example.messages, settings);
}

/** Beginning, text, end; everything counts. */
function encodeText(text: string, { tokenizer }: EncodeSettings): EncodedExample {
  const { bosId, eosIds } = tokenizer;
  const body = tokenizer.encode(text);
  const ids = Int32Array.from([...(bosId === null ? [] : [bosId]), ...body, ...eosIds.slice(0, 1)]);
  const weights = new Float32Array(ids.length).fill(1);
  weights[0] = 0;
  return { ids, weights };
}

/**
 * The conversation as the template renders it. What counts of a turn is what its rendering adds to that of the messages before it with
 * the assistant's header: so the token that ends the turn is learnt, whatever the template, and the header is not.
 */
function encodeTurns(
  messages: readonly ChatMessage[],
  { tokenizer, template, otherWeight }: EncodeSettings,
): EncodedExample {
  const render = (count: number, addGenerationPrompt: boolean) =>
    encodeChat(tokenizer, template, messages.slice(0, count), { addGenerationPrompt }).ids;
  const ids = render(messages.length, false);
  const weights = new Float32Array(ids.length).fill(otherWeight);
  messages.forEach(({ role }, i) => {
    if (role !== "assistant") return;
    const before = render(i, true);
    const after = i + 1 === messages.length ? ids : render(i + 1, false);
    // A token may span the end of the header, as "Assistant: " and "Hello" share " Hello": it belongs to the answer.
    const start = commonLength(before, after);
    if (start < before.length - 1 || commonLength(after, ids) < after.length) {
      throw new BitNetError(
        "TEMPLATE_FAILED",
        `chat template "${template.name}": message ${i + 1} changes how earlier ones are rendered, so that its answer cannot be told apart`,
      );
    }
    weights.fill(1, start, after.length);
  });
  weights[0] = 0;
  return { ids, weights };
}

function commonLength(a: Int32Array, b: Int32Array): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

/**
 * Cuts a document into pieces of at most `longest` predictions, each beginning with the last token of the piece before.
 * Pieces in which nothing counts are left out.
 */
export function cutExample({ ids, weights }: EncodedExample, longest: number): EncodedExample[] {
  const pieces: EncodedExample[] = [];
  for (let first = 0; first + 1 < ids.length; first += longest) {
    const end = Math.min(ids.length, first + longest + 1);
    const piece = { ids: ids.slice(first, end), weights: weights.slice(first, end) };
    piece.weights[0] = 0;
    if (piece.weights.some((weight) => weight > 0)) pieces.push(piece);
  }
  return pieces;
}
