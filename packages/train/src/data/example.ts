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
  /** An error where there is none: texts need none, and conversations meet it. */
  readonly template: ChatTemplate | BitNetError;
  /** Weight of what the assistant does not say: 0 masks it. */
  readonly otherWeight: number;
}

/** @throws BitNetError TEMPLATE_FAILED when the template does not render turns one after another, or there is none for a conversation. */
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
  if (template instanceof BitNetError) throw template;
  const render = (count: number, addGenerationPrompt: boolean) =>
    encodeChat(tokenizer, template, messages.slice(0, count), { addGenerationPrompt });
  const whole = render(messages.length, false);
  const turns = messages.flatMap(({ role }, i) => {
    if (role !== "assistant") return [];
    const [before, after] = [render(i, true), render(i + 1, false)];
    if (!after.text.startsWith(before.text) || !whole.text.startsWith(after.text)) {
      throw new BitNetError(
        "TEMPLATE_FAILED",
        `chat template "${template.name}": message ${i + 1} changes how earlier ones are rendered, so that its answer cannot be told apart`,
      );
    }
    return [{ before, after }];
  });
  const isPrefix = (a: Int32Array, b: Int32Array) => commonLength(a, b) === a.length;
  if (turns.every(({ before, after }) => isPrefix(before.ids, after.ids) && isPrefix(after.ids, whole.ids))) {
    const weights = new Float32Array(whole.ids.length).fill(otherWeight);
    for (const { before, after } of turns) weights.fill(1, before.ids.length, after.ids.length);
    weights[0] = 0;
    return { ids: whole.ids, weights };
  }
  // A token spans the end of a header, as in "Assistant: Hello": encoded apart, so that the answer follows what a model is prompted with.
  const places = turns.flatMap(({ before, after }) => [before.text.length, after.text.length]);
  const parts = [0, ...places].map((place, i) =>
    tokenizer.encode(whole.text.slice(place, places[i]), { special: true }),
  );
  const ids = Int32Array.from(parts.flatMap((part) => [...part]));
  const weights = Float32Array.from(
    parts.flatMap((part, i) => Array(part.length).fill(i % 2 === 1 ? 1 : otherWeight)),
  );
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
