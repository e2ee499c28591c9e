/**
 * The part of a schema that a grammar can hold an answer to; what it cannot is left out, so that more is allowed, never less. For arguments of tools
 * whose schema nobody promises to keep to: a bound on a number in one of fifty tools is no reason to refuse a conversation.
 */
import {
  annotations,
  canBeName,
  checkPattern,
  checkSchema,
  exclusive,
  ignored,
  isImplied,
  types,
} from "./check-schema.ts";

const maxDepth = 24;
const anyObject = { type: "object", additionalProperties: true };
const boundsOfNumbers = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
/** Each takes seconds to compile for a large vocabulary. */
const boundsOfTexts = ["minLength", "maxLength"];

/** @param schema Of a tool's arguments. One that names no properties at all takes none. */
export function loosenSchema(schema: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const named = isObject(schema.properties) ? schema : { ...schema, properties: {} };
  const loose = loosened(isComposed(schema) ? schema : named, 0);
  try {
    checkSchema(loose);
    return loose;
  } catch {
    return anyObject;
  }
}

function isComposed(schema: Readonly<Record<string, unknown>>): boolean {
  return (
    exclusive.some((keyword) => schema[keyword] !== undefined) || schema.additionalProperties !== undefined
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function loosened(schema: unknown, depth: number): Record<string, unknown> {
  if (!isObject(schema) || depth > maxDepth) return {};
  const kept = Object.fromEntries(Object.entries(schema).filter(([name]) => isKept(schema, name)));
  keepOneOf(kept);
  for (const keyword of ["properties", "patternProperties", "$defs", "definitions"]) {
    const children = kept[keyword];
    if (!isObject(children)) continue;
    if (!Object.keys(children).every(canBeName)) return anyObject;
    kept[keyword] = Object.fromEntries(
      Object.entries(children).map(([name, child]) => [name, loosened(child, depth + 1)]),
    );
  }
  for (const keyword of ["items", "additionalProperties", "additionalItems"])
    if (isObject(kept[keyword])) kept[keyword] = loosened(kept[keyword], depth + 1);
  for (const keyword of ["anyOf", "oneOf", "allOf", "prefixItems"]) {
    const list = kept[keyword];
    if (Array.isArray(list)) kept[keyword] = list.map((each) => loosened(each, depth + 1));
  }
  const isFree = kept.properties === undefined && kept.patternProperties === undefined;
  if (kept.type === "object" && isFree) kept.additionalProperties ??= true;
  return kept;
}

function isKept(schema: Record<string, unknown>, name: string): boolean {
  const value = schema[name];
  if (ignored.has(name) || boundsOfTexts.includes(name)) return false;
  if (boundsOfNumbers.includes(name)) return schema.type === "integer";
  switch (name) {
    case "type":
      return [value].flat().every((each) => types.has(each));
    case "enum":
    case "anyOf":
    case "oneOf":
      return Array.isArray(value) && value.length > 0;
    case "allOf":
      return Array.isArray(value) && value.length === 1;
    case "prefixItems":
      return Array.isArray(value);
    case "items":
    case "additionalItems":
    case "additionalProperties":
      return typeof value === "boolean" || isObject(value);
    case "properties":
    case "patternProperties":
    case "$defs":
    case "definitions":
      return isObject(value);
    case "pattern":
      return isPattern(value);
    case "$ref":
      return typeof value === "string" && value.startsWith("#/");
    default:
      return true;
  }
}

function isPattern(value: unknown): boolean {
  if (typeof value !== "string") return false;
  try {
    checkPattern(value, "pattern");
    return true;
  } catch {
    return false;
  }
}

/** Of keywords that cannot stand beside others, the one that says most stays. */
function keepOneOf(schema: Record<string, unknown>): void {
  for (const keyword of exclusive) {
    if (schema[keyword] === undefined) continue;
    const beside = Object.keys(schema).filter(
      (name) => name !== keyword && !annotations.has(name) && !isImplied(schema, keyword, name),
    );
    if (beside.length === 0) continue;
    const isList = keyword === "anyOf" || keyword === "oneOf" || keyword === "allOf";
    const dropped =
      isList && (schema.type !== undefined || schema.properties !== undefined) ? [keyword] : beside;
    for (const name of dropped) delete schema[name];
  }
}
