/** Functions that a model may call in a conversation: reads the options, and takes calls out of answers. */
import { AnswerReader, BitNetError, callBegin, callEnd, type Tool } from "@bitnet.ts/core";
import type { GrammarSpec } from "@bitnet.ts/grammar";
import type { GenerationResult, GenerationSource, ParsedToolCall, TokenPiece } from "./generation.ts";
import { kindOf } from "./known-options.ts";
import type { JsonSchema } from "./schema-type.ts";

/** A function that the model may call. */
export interface ChatTool {
  name: string;
  /** What it does and when to call it, for the model. */
  description?: string;
  /** JSON Schema of its arguments, an object; default: no arguments. */
  parameters?: JsonSchema;
}

export interface ToolOptions {
  /** Functions that the model may call. */
  tools?: readonly ChatTool[];
  /** "auto": the model decides; "required": at least one call; a name: that call; "none": no call. Default "auto". */
  toolChoice?: "auto" | "none" | "required" | { readonly name: string };
  /** Whether one answer may hold several calls. Default true. */
  parallelToolCalls?: boolean;
}

/** What a call came to. */
export interface ToolResult {
  /** Of the call. */
  id: string;
  /** A text, or any JSON value. */
  content: unknown;
}

/** @throws BitNetError INVALID_ARGUMENT */
export function checkTools(where: string, { tools, toolChoice, parallelToolCalls }: ToolOptions): void {
  const fail = (what: string, found: unknown): never => {
    throw new BitNetError("INVALID_ARGUMENT", `${where}: ${what}, found ${kindOf(found)}`);
  };
  if (tools !== undefined && !Array.isArray(tools)) fail("tools: expected a list", tools);
  for (const [i, tool] of (tools ?? []).entries()) {
    if (typeof tool !== "object" || tool === null) fail(`tools[${i}]: expected an object`, tool);
    if (typeof tool.name !== "string" || !/^[A-Za-z0-9_.-]{1,64}$/.test(tool.name))
      fail(`tools[${i}].name: expected up to 64 letters, digits, "_", "-" and "."`, tool.name);
    if (tool.description !== undefined && typeof tool.description !== "string")
      fail(`tools[${i}].description: expected a text`, tool.description);
    if (tool.parameters !== undefined && (typeof tool.parameters !== "object" || tool.parameters === null))
      fail(`tools[${i}].parameters: expected a JSON Schema object`, tool.parameters);
  }
  const names = (tools ?? []).map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new BitNetError("INVALID_ARGUMENT", `${where}: tools: there are two of the name "${twice}"`);
  if (parallelToolCalls !== undefined && typeof parallelToolCalls !== "boolean")
    fail("parallelToolCalls: expected true or false", parallelToolCalls);
  if (toolChoice === undefined || toolChoice === "auto" || toolChoice === "none") return;
  if (toolChoice === "required") {
    if (names.length === 0)
      throw new BitNetError("INVALID_ARGUMENT", `${where}: toolChoice: "required" needs tools`);
    return;
  }
  if (typeof toolChoice !== "object" || toolChoice === null || !names.includes(toolChoice.name))
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${where}: toolChoice: expected auto, none, required or the name of one of the tools (${names.join(", ") || "none are given"})`,
    );
}

const noParameters: JsonSchema = { type: "object", properties: {} };

/** In the form that templates know. */
export function describedTools({ tools, toolChoice }: ToolOptions): Tool[] {
  if (toolChoice === "none") return [];
  return (tools ?? []).map(({ name, description, parameters }) => ({
    type: "function",
    function: {
      name,
      ...(description === undefined ? {} : { description }),
      parameters: { ...(parameters ?? noParameters) },
    },
  }));
}

/** What keeps calls to the form that they must have. */
export function callsForm({ tools, toolChoice, parallelToolCalls = true }: ToolOptions): GrammarSpec | null {
  if (tools === undefined || tools.length === 0 || toolChoice === "none") return null;
  const named = typeof toolChoice === "object" ? tools.filter(({ name }) => name === toolChoice.name) : tools;
  return {
    kind: "calls",
    begin: callBegin,
    end: callEnd,
    tools: named.map(({ name, parameters = noParameters }) => ({ name, parameters })),
    mustCall: toolChoice === "required" || typeof toolChoice === "object",
    several: parallelToolCalls && typeof toolChoice !== "object",
  };
}

/** The same generation with calls taken out of its text. @param nBefore Calls of the conversation before, for their ids. */
export function withToolCalls(
  source: GenerationSource,
  names: ReadonlySet<string>,
  nBefore: number,
): GenerationSource {
  return {
    result: source.result.then((result) => readCalls(result, names, nBefore)),
    read: () => withoutCalls(source.read(), names),
  };
}

function readCalls(result: GenerationResult, names: ReadonlySet<string>, nBefore: number): GenerationResult {
  const reader = new AnswerReader({ tools: true, thinking: "no", names });
  const texts: string[] = [];
  const toolCalls: ParsedToolCall[] = [];
  for (const event of [...reader.push(result.text), ...reader.end()])
    if (event.kind === "call") {
      const id = `call_${nBefore + toolCalls.length + 1}`;
      toolCalls.push({ id, name: event.name, arguments: parsedArguments(event.arguments) });
    } else texts.push(event.text);
  return { ...result, text: texts.join(""), toolCalls };
}

function parsedArguments(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // A model that calls without a grammar writes what it likes.
  }
  return {};
}

function withoutCalls(
  pieces: AsyncIterator<TokenPiece, undefined>,
  names: ReadonlySet<string>,
): AsyncIterator<TokenPiece, undefined> {
  const reader = new AnswerReader({ tools: true, thinking: "no", names });
  const textOf = (events: ReturnType<AnswerReader["push"]>) =>
    events.map((event) => (event.kind === "call" ? "" : event.text)).join("");
  let last: TokenPiece | null = null;
  return {
    async next() {
      const { done, value } = await pieces.next();
      if (done !== true) {
        last = value;
        if (value.channel === "thinking") return { done: false, value };
        return { done: false, value: { ...value, text: textOf(reader.push(value.text)) } };
      }
      const rest = textOf(reader.end());
      if (rest === "" || last === null) return { done: true, value: undefined };
      // What looked like the beginning of a call was none.
      const { id, channel } = last;
      last = null;
      return { done: false, value: { id, text: rest, ...(channel === undefined ? {} : { channel }) } };
    },
    async return() {
      await pieces.return?.();
      return { done: true, value: undefined };
    },
  };
}
