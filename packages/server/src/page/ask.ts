/** Asks the server for an answer and reads it as it comes. Knows nothing of the page. */
import type { Answered, Delta } from "./chat-view.ts";

interface Chunk {
  choices?: { delta: Delta; finish_reason: string | null }[];
  usage?: { completion_tokens: number } | null;
  error?: { message: string };
}

interface Asked {
  body: object;
  key: string;
  signal: AbortSignal;
  onDelta(delta: Delta): void;
}

export async function ask({ body, key, signal, onDelta }: Asked): Promise<Answered> {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(key === "" ? {} : { authorization: `Bearer ${key}` }),
    },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!response.ok || response.body === null) throw new Error(await errorText(response));
  const answered: Answered = { finishReason: null, nTokens: 0 };
  for await (const chunk of readChunks(response.body)) {
    if (chunk.error !== undefined) throw new Error(chunk.error.message);
    for (const { delta, finish_reason } of chunk.choices ?? []) {
      onDelta(delta);
      answered.finishReason ??= finish_reason;
    }
    if (chunk.usage) answered.nTokens = chunk.usage.completion_tokens;
  }
  return answered;
}

async function errorText(response: Response): Promise<string> {
  const body = (await response.json().catch(() => null)) as Chunk | null;
  return body?.error?.message ?? `the server answered ${response.status}`;
}

async function* readChunks(body: ReadableStream<Uint8Array>): AsyncGenerator<Chunk> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const frames = text.split("\n\n");
      text = frames.pop() ?? "";
      for (const frame of frames)
        if (frame.startsWith("data: ") && frame !== "data: [DONE]") yield JSON.parse(frame.slice(6)) as Chunk;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
