/**
 * Text from files and from standard input. Bytes that are not UTF-8 become U+FFFD; one newline at the end is the shell's, not the
 * prompt's.
 */
import { BitNetError, onAbort } from "@bitnet.ts/core";
import { unreadableFile } from "@bitnet.ts/core/node";
import { fileStream } from "./file-stream.ts";

/** Far beyond any context; more would only fill memory. */
const maxBytes = 64 * 2 ** 20;

/** @throws BitNetError FILE_NOT_FOUND, IO_FAILED, INVALID_ARGUMENT (too large) or ABORTED. */
export async function readTextFile(path: string, signal: AbortSignal): Promise<string> {
  try {
    return await readAll(fileStream(path, signal), path);
  } catch (cause) {
    if (cause instanceof BitNetError) throw cause;
    throw unreadableFile(path, cause);
  }
}

/** All of standard input. */
export async function readStandardInput(signal: AbortSignal): Promise<string> {
  const stopWaiting = onAbort(signal, () =>
    process.stdin.destroy(new BitNetError("ABORTED", "interrupted while reading standard input")),
  );
  try {
    return await readAll(process.stdin, "standard input");
  } finally {
    stopWaiting();
  }
}

async function readAll(stream: AsyncIterable<Uint8Array>, name: string): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let nBytes = 0;
  for await (const chunk of stream) {
    nBytes += chunk.length;
    if (nBytes > maxBytes) {
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `${name}: holds more than ${maxBytes} bytes; no context is that long`,
      );
    }
    text += decoder.decode(chunk, { stream: true });
  }
  text += decoder.decode();
  return text.replace(/\r?\n$/, "");
}

/** The lines of standard input as they come, without their line ends; a last line needs none. */
export async function* readLines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const [first = "", ...lines] = decoder.decode(chunk, { stream: true }).split("\n");
    lines.unshift(rest + first);
    rest = lines.pop() ?? "";
    if (rest.length > maxBytes) {
      throw new BitNetError(
        "INVALID_ARGUMENT",
        `standard input: a line holds more than ${maxBytes} characters`,
      );
    }
    for (const line of lines) yield line.replace(/\r$/, "");
  }
  rest += decoder.decode();
  if (rest !== "") yield rest.replace(/\r$/, "");
}
