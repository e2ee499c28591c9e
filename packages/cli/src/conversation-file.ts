/** Conversations in files: `{"messages":[{"role","content"}, …]}`, as the APIs of model servers take them. */
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { BitNetError, type ChatMessage } from "@bitnet.ts/core";
import type { ChatOptions } from "bitnet.ts";

/** @throws BitNetError INVALID_ARGUMENT without a path or for a file that exists, IO_FAILED. */
export async function saveConversation(
  path: string,
  messages: readonly ChatMessage[],
  mayReplace: boolean,
): Promise<void> {
  if (path === "") throw new BitNetError("INVALID_ARGUMENT", "/save needs the name of a file");
  if (!mayReplace && (await stat(path).catch(() => null)) !== null)
    throw new BitNetError("INVALID_ARGUMENT", `${path} exists already; save under another name`);
  const made = `${path}.${process.pid}.new`;
  try {
    await writeFile(made, `${JSON.stringify({ messages }, null, 2)}\n`);
    await rename(made, path);
  } catch (cause) {
    await rm(made, { force: true });
    throw new BitNetError("IO_FAILED", `${path}: cannot be written (${(cause as Error).message})`, { cause });
  }
}

/** @throws BitNetError INVALID_ARGUMENT, FILE_NOT_FOUND, IO_FAILED. */
export async function readConversation(path: string): Promise<ChatOptions> {
  if (path === "") throw new BitNetError("INVALID_ARGUMENT", "/load needs the name of a file");
  return asChat(parseMessages(await readText(path), path));
}

/** A chat keeps its system message apart from its turns. */
export function asChat(messages: readonly ChatMessage[]): ChatOptions {
  const [first, ...others] = messages;
  const system = first?.role === "system" ? textOf(first) : null;
  return system === null ? { messages } : { system, messages: others };
}

/** Null for a message that is no plain text. */
export function textOf(message: ChatMessage | undefined): string | null {
  return typeof message?.content === "string" ? message.content : null;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new BitNetError("FILE_NOT_FOUND", `${path}: no such file`, { cause });
    throw new BitNetError("IO_FAILED", `${path}: cannot be read (${message})`, { cause });
  }
}

function parseMessages(text: string, path: string): ChatMessage[] {
  const { messages } = parseObject(text);
  if (Array.isArray(messages) && messages.every(isMessage))
    return messages.map(({ role, content }) => ({ role, content }));
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${path}: expected {"messages": [{"role": …, "content": …}, …]}, as /save writes it`,
  );
}

function parseObject(text: string): { messages?: unknown } {
  try {
    return Object(JSON.parse(text)) as { messages?: unknown };
  } catch {
    return {};
  }
}

function isMessage(value: unknown): value is { role: string; content: string } {
  const { role, content } = Object(value) as { role?: unknown; content?: unknown };
  return typeof role === "string" && typeof content === "string";
}
