/** Messages and tools of a request in OpenAI's chat dialect. */
import type { ChatMessage, Tool, ToolCall, ToolChoice } from "@bitnet.ts/core";
import { invalid, ServeError } from "../errors.ts";
import { Fields, isObject } from "../fields.ts";

const roles = ["system", "developer", "user", "assistant", "tool", "function"] as const;
const maxMessages = 4096;
/** Agents bring the tools of all servers that they are connected to; what these say is bounded by the size of a prompt. */
const maxTools = 1024;

export function listTools(body: Fields): unknown[] {
  return body.list("tools", maxTools) ?? [];
}

export function readMessages(body: Fields): ChatMessage[] {
  const list = body.list("messages", maxMessages);
  if (list === undefined || list.length === 0) throw invalid("messages", "a list of at least one message");
  return list.map((each, index) => readMessage(new Fields(each, `messages[${index}]`)));
}

function readMessage(message: Fields): ChatMessage {
  const role = message.choice("role", roles);
  if (role === undefined) throw invalid(message.path("role"), `one of ${roles.join(", ")}`);
  const name = message.string("name", 256);
  const calls = role === "assistant" ? readCalls(message) : undefined;
  const content = readContent(message) ?? message.string("refusal");
  if (content === undefined && calls === undefined)
    throw invalid(message.path("content"), "a string or a list of text parts");
  const reasoning = message.string("reasoning_content");
  const callId = message.string("tool_call_id", 256);
  return {
    role: role === "developer" ? "system" : role === "function" ? "tool" : role,
    content: content ?? "",
    ...(calls === undefined ? {} : { tool_calls: calls }),
    ...(name === undefined ? {} : { name }),
    ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
    ...(callId === undefined ? {} : { tool_call_id: callId }),
  };
}

/** A text, or the texts of parts, one below the other. */
export function readContent(message: Fields): string | undefined {
  const value = message.raw("content");
  if (value === undefined || typeof value === "string") return value;
  if (!Array.isArray(value)) throw invalid(message.path("content"), "a string or a list of text parts");
  return value
    .map((part, index) => readPart(new Fields(part, `${message.path("content")}[${index}]`)))
    .join("\n");
}

function readPart(part: Fields): string {
  const type = part.requiredString("type");
  if (type === "refusal") return part.requiredString("refusal");
  if (type === "text" || type === "input_text" || type === "output_text") return part.requiredString("text");
  throw invalid(part.path("type"), '"text"; images, sound and files are not supported by these models');
}

function readCalls(message: Fields): ToolCall[] | undefined {
  const list = message.list("tool_calls", 128);
  if (list === undefined || list.length === 0) return undefined;
  return list.map((each, index) => {
    const call = new Fields(each, `${message.path("tool_calls")}[${index}]`);
    const called = call.object("function");
    if (called === undefined) throw invalid(call.path("function"), "an object");
    const id = call.string("id", 256);
    return {
      ...(id === undefined ? {} : { id }),
      type: "function",
      function: { name: called.requiredString("name"), arguments: called.string("arguments") ?? "{}" },
    };
  });
}

function readTools(body: Fields): Tool[] {
  return listTools(body).map((each, index) => {
    const tool = new Fields(each, `tools[${index}]`);
    const type = tool.string("type") ?? "function";
    if (type !== "function")
      throw new ServeError("INVALID_INPUT", `${tool.path("type")}: only functions can be called here`, {
        param: tool.path("type"),
      });
    return readFunction(tool.object("function") ?? tool);
  });
}

export function readFunction(described: Fields, parametersField = "parameters"): Tool {
  const name = described.requiredString("name");
  if (!/^[A-Za-z0-9_.-]{1,128}$/.test(name))
    throw invalid(described.path("name"), "1 to 128 letters, digits, _ . or -");
  const description = described.string("description");
  const parameters = described.raw(parametersField) ?? { type: "object", properties: {} };
  if (typeof parameters !== "object" || Array.isArray(parameters))
    throw invalid(described.path(parametersField), "a JSON Schema object");
  return {
    type: "function",
    function: {
      name,
      ...(description === undefined ? {} : { description }),
      parameters: parameters as Record<string, unknown>,
    },
  };
}

/** What may be called, and whether it must be. */
export interface OfferedTools {
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  readonly strictTools: ReadonlySet<string>;
}

/** Names of those that say `strict: true`. */
export function readStrictTools(body: Fields): ReadonlySet<string> {
  const names = listTools(body).flatMap((each, index) => {
    const tool = new Fields(each, `tools[${index}]`);
    const described = tool.object("function") ?? tool;
    return described.boolean("strict") === true ? [described.requiredString("name")] : [];
  });
  return new Set(names);
}

/** The tools of a request and its choice among them: of those that it allows, where it names some. */
export function readToolUse(body: Fields): OfferedTools {
  const tools = readTools(body);
  const value = body.raw("tool_choice");
  const allowed =
    isObject(value) && value.type === "allowed_tools" ? new Fields(value, "tool_choice") : undefined;
  const strictTools = readStrictTools(body);
  if (allowed === undefined) return { tools, toolChoice: readToolChoice(body, tools), strictTools };
  const choice = allowed.object("allowed_tools") ?? allowed;
  const mode = choice.choice("mode", ["auto", "required"] as const);
  if (mode === undefined) throw invalid(choice.path("mode"), "auto or required");
  const names = (choice.list("tools", maxTools) ?? []).map((each, index) => {
    const tool = new Fields(each, `${choice.path("tools")}[${index}]`);
    return (tool.object("function") ?? tool).requiredString("name");
  });
  const offered = tools.filter((tool) => names.includes(tool.function.name));
  if (offered.length === 0 || names.some((name) => !tools.some((tool) => tool.function.name === name)))
    throw invalid(choice.path("tools"), "names of some of the tools");
  return { tools: offered, toolChoice: mode, strictTools };
}

function readToolChoice(body: Fields, tools: readonly Tool[]): ToolChoice {
  const value = body.raw("tool_choice");
  if (value === undefined) return tools.length > 0 ? "auto" : "none";
  if (typeof value === "string") {
    const choice = body.choice("tool_choice", ["none", "auto", "required"] as const) ?? "auto";
    if (choice === "required" && tools.length === 0) throw invalid("tool_choice", "tools beside it");
    return choice;
  }
  const choice = new Fields(value, "tool_choice");
  const name = (choice.object("function") ?? choice).requiredString("name");
  if (!tools.some((tool) => tool.function.name === name))
    throw invalid("tool_choice", "the name of one of the tools");
  return { name };
}
