/** Reads one line of a JSONL file: the formats that people keep training data in. */
import { BitNetError, type ChatMessage } from "@bitnet.ts/core";
import type { Example } from "./example.ts";

/** What a `text` record is: something to continue, or a conversation whose second half answers the first. */
export type TextMode = "text" | "split";

const formats = "messages, instruction/output, input/output or text";

/**
 * @param where For messages, such as `data.jsonl:7`.
 * @throws BitNetError FORMAT_INVALID
 */
export function parseExample(line: string, where: string, textMode: TextMode = "text"): Example {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw invalid(where, `is not JSON (${(cause as Error).message.slice(0, 80)})`, cause);
  }
  return exampleOf(value, where, textMode);
}

/** The same for a record that has been parsed already. */
export function exampleOf(value: unknown, where: string, textMode: TextMode = "text"): Example {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(where, `expected an object with ${formats}`);
  const record = value as Record<string, unknown>;
  if (record.messages !== undefined) return { kind: "chat", messages: messagesOf(record.messages, where) };
  if (record.output !== undefined) return { kind: "chat", messages: pairOf(record, where) };
  if (record.text === undefined)
    throw invalid(
      where,
      `expected ${formats}, found ${Object.keys(record).slice(0, 5).join(", ") || "nothing"}`,
    );
  const text = textOf(record, "text", where);
  return textMode === "split" ? { kind: "chat", messages: halves(text) } : { kind: "text", text };
}

/** `instruction` with an optional `input`, or `input` alone; and `output`. */
function pairOf(record: Record<string, unknown>, where: string): ChatMessage[] {
  const question =
    record.instruction === undefined
      ? textOf(record, "input", where)
      : [
          textOf(record, "instruction", where),
          record.input === undefined || record.input === "" ? "" : textOf(record, "input", where),
        ]
          .filter((part) => part !== "")
          .join("\n");
  return [
    { role: "user", content: question },
    { role: "assistant", content: textOf(record, "output", where) },
  ];
}

function messagesOf(value: unknown, where: string): ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0)
    throw invalid(where, "expected messages: a list that is not empty");
  const messages = value.map((message: unknown, i) => {
    const { role, content } = (message ?? {}) as Record<string, unknown>;
    if (typeof role !== "string" || !/^[\w-]+$/.test(role) || typeof content !== "string")
      throw invalid(where, `expected a role and a text as content in message ${i + 1}`);
    return { role, content };
  });
  if (!messages.some(({ role }) => role === "assistant"))
    throw invalid(
      where,
      "expected at least one message of the assistant, from which there is something to learn",
    );
  return messages;
}

/** Cut at the white space nearest to the middle. */
function halves(text: string): ChatMessage[] {
  const middle = Math.floor(text.length / 2);
  const after = text.slice(middle).search(/\s/);
  const before = text.slice(0, middle).search(/\s\S*$/);
  const distances = [
    after < 0 ? Number.POSITIVE_INFINITY : after,
    before < 0 ? Number.POSITIVE_INFINITY : middle - before,
  ];
  const cut =
    distances[0] === Number.POSITIVE_INFINITY && distances[1] === Number.POSITIVE_INFINITY
      ? middle
      : (distances[0] ?? 0) <= (distances[1] ?? 0)
        ? middle + after
        : before;
  return [
    { role: "user", content: text.slice(0, cut).trim() },
    { role: "assistant", content: text.slice(cut).trim() },
  ];
}

function textOf(record: Record<string, unknown>, name: string, where: string): string {
  const value = record[name];
  if (typeof value !== "string" || value.trim() === "")
    throw invalid(
      where,
      `expected a text that is not empty as ${name}, found ${value === undefined ? "nothing" : typeof value}`,
    );
  return value;
}

function invalid(where: string, problem: string, cause?: unknown): BitNetError {
  return new BitNetError("FORMAT_INVALID", `${where}: ${problem}`, cause === undefined ? {} : { cause });
}
