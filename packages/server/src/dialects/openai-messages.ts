/** Messages and tools of a request in OpenAI's chat dialect. */
import type { ChatMessage, Tool, ToolCall, ToolChoice } from "@bitnet.ts/core";
import { invalid, ServeError } from "../errors.ts";
import { Fields } from "../fields.ts";

const roles = ["system", "developer", "user", "assistant", "tool", "function"] as const;
const maxMessages = 4096;

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
  const content = readContent(message);
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

export function readTools(body: Fields): Tool[] {
  const list = body.list("tools", 128) ?? [];
  return list.map((each, index) => {
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
  const description = described.string("description", 16_384);
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

export function readToolChoice(body: Fields, tools: readonly Tool[]): ToolChoice {
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
