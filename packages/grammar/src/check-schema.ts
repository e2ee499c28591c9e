/**
 * Refuses schemas that the grammar compiler would read without obeying: answers would break them in silence. Also bounds them, since the
 * compiler does not.
 */
import { BitNetError } from "@bitnet.ts/core";

const maxBytes = 65_536;
const maxDepth = 32;

/** Keywords that are ignored. */
export const ignored: ReadonlySet<string> = new Set([
  ..."not if then else multipleOf uniqueItems contains minContains maxContains dependentRequired".split(" "),
  ..."dependentSchemas dependencies propertyNames unevaluatedProperties unevaluatedItems $dynamicRef $recursiveRef".split(
    " ",
  ),
]);
/** Beside anyOf, oneOf, enum, const or $ref only these are harmless: others would be dropped. */
export const annotations: ReadonlySet<string> = new Set([
  ..."title description default examples deprecated readOnly writeOnly $comment $schema $id $defs definitions".split(
    " ",
  ),
]);
export const exclusive = ["$ref", "const", "enum", "anyOf", "oneOf", "allOf"] as const;
export const types: ReadonlySet<unknown> = new Set([
  "string",
  "number",
  "integer",
  "boolean",
  "null",
  "object",
  "array",
]);

/** @throws BitNetError INVALID_ARGUMENT naming the place in the schema. */
export function checkSchema(schema: unknown): void {
  let text: string | undefined;
  try {
    text = JSON.stringify(schema);
  } catch {
    text = undefined;
  }
  if (text === undefined) fail("#", "it must be JSON");
  if (text.length > maxBytes) fail("#", `it has over ${maxBytes} characters`);
  visit(schema, "#", 0, schema);
}

function fail(path: string, problem: string): never {
  throw new BitNetError("INVALID_ARGUMENT", `schema: ${path}: ${problem}`, { details: { path } });
}

function visit(schema: unknown, path: string, depth: number, root: unknown): void {
  if (depth > maxDepth) fail(path, `it nests deeper than ${maxDepth} levels`);
  if (schema === true) return;
  if (typeof schema !== "object" || schema === null || Array.isArray(schema))
    fail(path, "expected an object");
  const fields = schema as Record<string, unknown>;
  const names = Object.keys(fields);
  for (const name of names)
    if (ignored.has(name) && !saysNothing(name, fields[name]))
      fail(`${path}/${name}`, "this keyword is not supported");
  for (const keyword of exclusive) {
    if (!names.includes(keyword)) continue;
    const beside = names.find(
      (name) => name !== keyword && !annotations.has(name) && !isImplied(fields, keyword, name),
    );
    if (beside !== undefined) fail(`${path}/${beside}`, `not supported beside ${keyword}`);
  }
  checkType(fields.type, path);
  checkBounds(fields, path);
  checkReference(fields.$ref, path, root);
  if (Array.isArray(fields.enum) && fields.enum.length === 0) fail(`${path}/enum`, "it is empty");
  if (typeof fields.pattern === "string") checkPattern(fields.pattern, `${path}/pattern`);
  for (const keyword of ["anyOf", "oneOf", "allOf"] as const) {
    const list = fields[keyword];
    if (list === undefined) continue;
    if (!Array.isArray(list) || list.length === 0) fail(`${path}/${keyword}`, "expected a list of schemas");
    if (keyword === "allOf" && list.length > 1)
      fail(`${path}/allOf`, "more than one schema is not supported");
    for (const [i, each] of list.entries()) visit(each, `${path}/${keyword}/${i}`, depth + 1, root);
  }
  for (const keyword of ["properties", "$defs", "definitions", "patternProperties"] as const) {
    const children = fields[keyword];
    if (children === undefined) continue;
    if (typeof children !== "object" || children === null) fail(`${path}/${keyword}`, "expected an object");
    for (const [name, child] of Object.entries(children)) {
      if (!canBeName(name))
        fail(`${path}/${keyword}`, "names with quotes, backslashes or control characters are not supported");
      visit(child, `${path}/${keyword}/${name}`, depth + 1, root);
    }
  }
  for (const keyword of ["items", "additionalProperties", "additionalItems"] as const) {
    const child = fields[keyword];
    if (child === undefined || typeof child === "boolean") continue;
    if (Array.isArray(child)) fail(`${path}/${keyword}`, "a list is not supported; use prefixItems");
    visit(child, `${path}/${keyword}`, depth + 1, root);
  }
  if (Array.isArray(fields.prefixItems))
    for (const [i, each] of fields.prefixItems.entries())
      visit(each, `${path}/prefixItems/${i}`, depth + 1, root);
}

/** Whether the compiler can take a property of that name. */
export function canBeName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it cannot take
  return !/["\\\u0000-\u001f]/.test(name);
}

/** What every value of JSON satisfies: libraries write it for maps, and beside what is off. */
function saysNothing(keyword: string, value: unknown): boolean {
  if (keyword === "uniqueItems") return value === false;
  return keyword === "propertyNames" && JSON.stringify(value) === '{"type":"string"}';
}

/** `type` beside `enum` or `const` says nothing new when all their values are of that type. */
export function isImplied(fields: Record<string, unknown>, keyword: string, name: string): boolean {
  if (name !== "type" || (keyword !== "enum" && keyword !== "const")) return false;
  const values: unknown[] =
    keyword === "const" ? [fields.const] : Array.isArray(fields.enum) ? fields.enum : [];
  const allowed: unknown[] = Array.isArray(fields.type) ? fields.type : [fields.type];
  return values.every((value) => typesOf(value).some((type) => allowed.includes(type)));
}

function typesOf(value: unknown): string[] {
  if (value === null) return ["null"];
  if (Array.isArray(value)) return ["array"];
  if (typeof value === "number") return Number.isInteger(value) ? ["integer", "number"] : ["number"];
  return [typeof value];
}

function checkType(type: unknown, path: string): void {
  const list: unknown[] = Array.isArray(type) ? type : [type];
  if (type !== undefined && !(list.length > 0 && list.every((each) => types.has(each))))
    fail(`${path}/type`, "unknown type");
}

/** The compiler keeps bounds of integers exactly; of other numbers it lets 9.2 pass as at most 9. */
function checkBounds(fields: Record<string, unknown>, path: string): void {
  if (fields.type === "integer") return;
  for (const name of ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])
    if (fields[name] !== undefined)
      fail(`${path}/${name}`, 'bounds are supported beside type "integer" only');
}

/** References within the schema, to something that is there. */
function checkReference(reference: unknown, path: string, root: unknown): void {
  if (reference === undefined) return;
  if (typeof reference !== "string" || !reference.startsWith("#/"))
    fail(`${path}/$ref`, 'only references into the schema are supported, such as "#/$defs/name"');
  let at: unknown = root;
  for (const part of reference.slice(2).split("/"))
    at =
      typeof at === "object" && at !== null && Object.hasOwn(at, part)
        ? (at as Record<string, unknown>)[part]
        : undefined;
  if (at === undefined) fail(`${path}/$ref`, "it points to nothing");
}

/** @throws BitNetError INVALID_ARGUMENT for what the compiler reads otherwise or dies of. */
export function checkPattern(pattern: string, where: string): void {
  if (pattern.length > 4096) fail(where, "it has over 4096 characters");
  try {
    new RegExp(pattern, "u");
  } catch {
    fail(where, "it is not a valid pattern");
  }
  if (/\(\?[=!<]|\\[1-9bBkpP]/.test(pattern))
    fail(where, "lookaround, word borders, back references and Unicode classes are not supported");
}
