import { expect, test } from "vitest";
import { checkPattern, checkSchema } from "./check-schema.ts";

const inside = (schema: unknown) => ({ type: "object", properties: { a: schema } });

test.each<[unknown, string]>([
  [{ not: { type: "string" } }, "#/properties/a/not"],
  [{ if: {} }, "#/properties/a/if"],
  [{ type: "number", maximum: 9 }, "#/properties/a/maximum"],
  [{ multipleOf: 3 }, "#/properties/a/multipleOf"],
  [{ type: "array", uniqueItems: true }, "#/properties/a/uniqueItems"],
  [{ type: "array", contains: {} }, "#/properties/a/contains"],
  [{ type: "object", propertyNames: { pattern: "^x" } }, "#/properties/a/propertyNames"],
  [{ allOf: [{}, {}] }, "#/properties/a/allOf"],
  [{ anyOf: [{ type: "string" }], minLength: 2 }, "#/properties/a/minLength"],
  [{ enum: ["a", 1], type: "string" }, "#/properties/a/type"],
  [{ enum: [] }, "#/properties/a/enum"],
  [{ type: "strnig" }, "#/properties/a/type"],
  [{ $ref: "#" }, "#/properties/a/$ref"],
  [{ $ref: "https://example.com/x" }, "#/properties/a/$ref"],
  [{ $ref: "#/$defs/none" }, "#/properties/a/$ref"],
  [false, "#/properties/a"],
  [{ properties: { 'q"': {} } }, "#/properties/a/properties"],
  [{ type: "string", pattern: "(?=x)" }, "#/properties/a/pattern"],
  [{ type: "string", pattern: "(" }, "#/properties/a/pattern"],
])("%o is refused with its path", (schema, path) => {
  expect(() => checkSchema(inside(schema))).toThrow(
    `schema: ${path}:`.replace("schema: #/properties/a/pattern:", "#/properties/a/pattern:"),
  );
});

test("schemas as clients send them pass", () => {
  checkSchema({
    $schema: "http://json-schema.org/draft-07/schema#",
    title: "T",
    type: "object",
    properties: {
      kind: { type: "string", enum: ["a", "b"], description: "d" },
      next: { anyOf: [{ $ref: "#/$defs/node" }, { type: "null" }] },
      list: { type: "array", items: { type: "integer", minimum: 0 }, maxItems: 3, uniqueItems: false },
      map: { type: "object", propertyNames: { type: "string" }, additionalProperties: { type: "number" } },
    },
    required: ["kind"],
    additionalProperties: false,
    $defs: { node: { type: "object", properties: { v: { const: 1 } } } },
  });
});

test("too deep and too large schemas are refused", () => {
  let deep: unknown = { type: "string" };
  for (let i = 0; i < 40; i++) deep = { type: "array", items: deep };
  expect(() => checkSchema(deep)).toThrow(/deeper/);
  expect(() => checkSchema({ enum: Array.from({ length: 20_000 }, (_, i) => `value ${i}`) })).toThrow(
    /characters/,
  );
  expect(() => checkPattern("a".repeat(5000), "pattern")).toThrow(/4096/);
});
