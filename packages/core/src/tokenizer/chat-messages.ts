/**
 * The messages of a conversation as callers write them, and as templates expect them. Everything is checked here, and
 * becomes plain JSON before a template sees it. Knows nothing of Jinja or of tokens.
 */
import { BitNetError } from "../base/errors.ts";
import type { TemplateHabits } from "./template-habits.ts";

/** Text, as one of several parts of a message. */
export interface TextPart {
  readonly type: "text";
  readonly text: string;
}

/** A call that the model made, in the form of OpenAI's interface. */
export interface ToolCall {
  readonly id?: string;
  readonly type?: "function";
  readonly function: {
    readonly name: string;
    /** An object, or JSON text of one. */
    readonly arguments: Readonly<Record<string, unknown>> | string;
  };
}

/**
 * One turn of a conversation. Fields have the names that templates read, which are also those of OpenAI's interface;
 * further fields that JSON can hold are passed to the template as they are.
 */
export interface ChatMessage {
  /** Usually `system`, `user`, `assistant` or `tool`: one that the template knows. */
  readonly role: string;
  /** Null or absent only beside `tool_calls`. */
  readonly content?: string | readonly TextPart[] | null;
  readonly tool_calls?: readonly ToolCall[];
  /** In a message of role `tool`: the call it answers. */
  readonly tool_call_id?: string;
  readonly name?: string;
  /** What the model thought before it answered. */
  readonly reasoning_content?: string | null;
  readonly [field: string]: unknown;
}

/** Variables for a template beyond messages and tools. */
export type TemplateArguments = Readonly<Record<string, unknown>>;

/** Roles that any template may meet; it raises an error of its own for those it does not want. */
const commonRoles: readonly string[] = ["system", "user", "assistant"];
/** Roles that a template which prints whatever role it gets is trusted with. */
const printableRoles: readonly string[] = ["tool", "developer"];
/** Names that a caller may not give to variables: they are the renderer's. */
const reservedNames: ReadonlySet<string> = new Set([
  ..."messages tools add_generation_prompt bos_token eos_token raise_exception strftime_now range".split(" "),
  ..."namespace loop caller true false none True False None chat_template".split(" "),
]);

interface InputParts {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly unknown[] | undefined;
  readonly arguments?: TemplateArguments | undefined;
}

/**
 * Checks what goes into a template, and writes it as JSON: an object with `messages`, `tools` (null where there are none)
 * and the further arguments.
 * @throws BitNetError INVALID_ARGUMENT
 */
export function prepareInput(input: InputParts, habits: TemplateHabits): string {
  const messages = input.messages.map((message, index) => templateMessage(message, index, habits));
  for (const name of Object.keys(input.arguments ?? {})) {
    if (/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(name) && !reservedNames.has(name)) continue;
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `chat: ${JSON.stringify(name.slice(0, 80))} cannot be an argument of a template`,
    );
  }
  return inputText({ messages, tools: input.tools, arguments: input.arguments });
}

/**
 * The same as JSON without checks, for those who only look for characters in it.
 * @throws BitNetError INVALID_ARGUMENT when something in it is no JSON value.
 */
export function inputText({ messages, tools, arguments: args }: InputParts): string {
  try {
    return JSON.stringify({ ...args, messages, tools: tools ?? null });
  } catch (cause) {
    throw new BitNetError("INVALID_ARGUMENT", "chat: messages, tools and arguments must be JSON values", {
      cause,
    });
  }
}

function templateMessage(message: ChatMessage, index: number, habits: TemplateHabits): ChatMessage {
  if (typeof message !== "object" || message === null) wrong(index, "", "an object", message);
  checkRole(message.role, index, habits);
  const calls = message.tool_calls;
  if (calls !== undefined && calls !== null && !Array.isArray(calls))
    wrong(index, ".tool_calls", "a list of calls", calls);
  const content = templateContent(message, index, habits);
  return {
    ...message,
    ...(content === undefined ? {} : { content }),
    ...(calls ? { tool_calls: calls.map((call, at) => templateCall(call, index, at)) } : {}),
  };
}

function checkRole(role: unknown, index: number, habits: TemplateHabits): void {
  const isName = typeof role === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(role);
  if (!isName) wrong(index, ".role", 'a name such as "user"', role);
  if (commonRoles.includes(role) || habits.literals.has(role)) return;
  if (habits.printsRole && printableRoles.includes(role)) return;
  const known = [...commonRoles, ...(habits.printsRole ? printableRoles : [])].join(", ");
  wrong(index, ".role", `a role that this model's template knows (${known}, or one it names)`, role);
}

/** Parts stay parts where the template goes over them; elsewhere they become one text. */
function templateContent(
  { content, tool_calls: calls }: ChatMessage,
  index: number,
  habits: TemplateHabits,
): ChatMessage["content"] {
  if (typeof content === "string") return content;
  if (content === undefined || content === null) {
    // Templates print or trim the content of whatever message they meet.
    return Array.isArray(calls) ? "" : wrong(index, ".content", "a string or a list of text parts", content);
  }
  if (!Array.isArray(content)) wrong(index, ".content", "a string or a list of text parts", content);
  const parts = content as readonly TextPart[];
  for (const [at, part] of parts.entries()) {
    if (typeof part === "object" && part !== null && part.type === "text" && typeof part.text === "string")
      continue;
    const type = typeof part === "object" && part !== null ? part.type : part;
    wrong(index, `.content[${at}]`, "a text part (images and sound are not supported)", type);
  }
  return habits.readsParts ? parts : parts.map(({ text }) => text).join("\n");
}

/** Templates expect arguments as an object; the wire carries them as JSON text. */
function templateCall(call: ToolCall, index: number, at: number): ToolCall {
  const where = `.tool_calls[${at}]`;
  const called = call?.function;
  if (typeof called?.name !== "string") wrong(index, `${where}.function.name`, "a string", called?.name);
  return { ...call, function: { ...called, arguments: argumentsObject(called.arguments) } };
}

function argumentsObject(value: ToolCall["function"]["arguments"]): ToolCall["function"]["arguments"] {
  if (typeof value !== "string") return value ?? {};
  try {
    const parsed: unknown = JSON.parse(value);
    const isObject = typeof parsed === "object" && parsed !== null && !Array.isArray(parsed);
    return isObject ? (parsed as Record<string, unknown>) : value;
  } catch {
    return value; // what the model wrote, though it is no JSON
  }
}

function wrong(index: number, field: string, expected: string, found: unknown): never {
  const shown =
    typeof found === "object" && found !== null ? "an object" : JSON.stringify(found)?.slice(0, 80);
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `chat: messages[${index}]${field} must be ${expected}, found ${shown ?? typeof found}`,
    { details: { index } },
  );
}
