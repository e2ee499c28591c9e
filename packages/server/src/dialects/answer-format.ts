/** The form of an answer as the dialects ask for it: JSON by schema, any JSON, a pattern, a choice. */
import type { GrammarSpec } from "@bitnet.ts/grammar";
import { invalid } from "../errors.ts";
import { type Fields, isObject } from "../fields.ts";

/** `response_format` of OpenAI and llama-server, and the guided_… fields of vLLM. */
export function readFormat(body: Fields): GrammarSpec | undefined {
  const guided = readGuided(body);
  const format = body.object("response_format");
  if (format === undefined) return guided;
  const type = format.choice("type", ["text", "json_object", "json_schema"] as const);
  if (type === undefined) throw invalid(format.path("type"), "text, json_object or json_schema");
  if (type === "text") return guided;
  if (type === "json_object") {
    const schema = format.raw("schema");
    return schema === undefined ? { kind: "json" } : { kind: "schema", schema };
  }
  const described = format.object("json_schema");
  if (described === undefined) throw invalid(format.path("json_schema"), "an object with a schema");
  const schema = described.raw("schema");
  if (!isObject(schema)) throw invalid(described.path("schema"), "a JSON Schema object");
  return { kind: "schema", schema };
}

function readGuided(body: Fields): GrammarSpec | undefined {
  const schema = body.raw("guided_json") ?? body.raw("json_schema");
  if (schema !== undefined)
    return { kind: "schema", schema: typeof schema === "string" ? parsed(schema) : schema };
  const pattern = body.string("guided_regex", 4096);
  if (pattern !== undefined) return { kind: "regex", pattern };
  const choices = body.strings("guided_choice", 1024, 1024);
  return choices === undefined ? undefined : { kind: "choice", choices };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid("guided_json", "a JSON Schema");
  }
}

/** Ollama's `format`: "json" or a schema. */
export function readOllamaFormat(body: Fields): GrammarSpec | undefined {
  const format = body.raw("format");
  if (format === undefined || format === "") return undefined;
  if (format === "json") return { kind: "json" };
  if (isObject(format)) return { kind: "schema", schema: format };
  throw invalid("format", '"json" or a JSON Schema object');
}
