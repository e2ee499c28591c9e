/** Answers the chat's questions by a model in this browser. Knows no DOM. */
import type { Answered, Question } from "@bitnet.ts/server/page";
import type { BitNet, GenerateOptions } from "bitnet.ts";

/** @throws BitNetError of the model, also when it was stopped. */
export async function answerFrom(
  model: BitNet,
  { messages, signal, onDelta }: Question,
  options: GenerateOptions,
): Promise<Answered> {
  const last = messages.at(-1);
  const chat = model.createChat({ messages: messages.slice(0, -1).map((message) => ({ ...message })) });
  const generation = chat.send(last?.content ?? "", { ...options, signal });
  for await (const { text, channel } of generation)
    onDelta(channel === "thinking" ? { reasoning_content: text } : { content: text });
  const { stopReason, ids } = await generation.result;
  if (stopReason === "abort") throw new Error("stopped");
  return { finishReason: stopReason === "length" ? "length" : "stop", nTokens: ids.length };
}
