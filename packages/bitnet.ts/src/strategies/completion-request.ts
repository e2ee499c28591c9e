/** Asks servers of others for texts, with limits on what they may send. */
import { BitNetError } from "@bitnet.ts/core";

const maxAnswerBytes = 4 * 2 ** 20;

interface PostOptions {
  signal: AbortSignal;
  key?: string | undefined;
}

export async function post(url: string, body: object, { signal, key }: PostOptions): Promise<Response> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (key !== undefined) headers.authorization = `Bearer ${key}`;
  let response: Response;
  try {
    response = await fetch(url, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      signal,
      redirect: "error",
    });
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new BitNetError("IO_FAILED", `${url}: cannot be reached: ${(cause as Error).message}`, { cause });
  }
  if (response.ok) return response;
  const text = await readText(response).catch(() => "");
  throw new BitNetError("IO_FAILED", `${url}: answered ${response.status}: ${text.slice(0, 200)}`);
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of chunks(response)) text += decoder.decode(piece, { stream: true });
  return text + decoder.decode();
}

/** The JSON values of an event stream, up to [DONE]. */
export async function* readEvents(response: Response): AsyncGenerator<Record<string, unknown>> {
  const decoder = new TextDecoder();
  let held = "";
  for await (const piece of chunks(response)) {
    held += decoder.decode(piece, { stream: true });
    const lines = held.split(/\r\n|\r|\n/);
    held = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice("data:".length).trim();
      if (data === "[DONE]") return;
      try {
        yield JSON.parse(data) as Record<string, unknown>;
      } catch (cause) {
        throw new BitNetError(
          "FORMAT_INVALID",
          `${response.url}: an event is no JSON: ${data.slice(0, 80)}`,
          { cause },
        );
      }
    }
  }
}

async function* chunks({ body, url }: Response): AsyncGenerator<Uint8Array> {
  let size = 0;
  const reader = body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done || value === undefined) return;
    size += value.length;
    if (size > maxAnswerBytes) {
      await reader?.cancel();
      throw new BitNetError("FORMAT_INVALID", `${url}: the answer is longer than ${maxAnswerBytes} bytes`);
    }
    yield value;
  }
}
