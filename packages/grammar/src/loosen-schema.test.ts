import { Ajv2020 } from "ajv/dist/2020.js";
import { expect, test } from "vitest";
import { checkSchema } from "./check-schema.ts";
import { loosenSchema } from "./loosen-schema.ts";

const inside = (schema: unknown) => ({ type: "object", properties: { a: schema } });
const ajv = new Ajv2020({ strict: false, validateFormats: false });

test.each<[schema: unknown, loose: unknown, values: unknown[]]>([
  [{ type: "number", minimum: 0, maximum: 1 }, { type: "number" }, [0, 0.5]],
  [
    { type: "integer", exclusiveMinimum: 0, maximum: 9 },
    { type: "integer", exclusiveMinimum: 0, maximum: 9 },
    [9],
  ],
  [{ type: "number", multipleOf: 0.1 }, { type: "number" }, [1]],
  [{ not: {} }, {}, []],
  [{ type: "string", minLength: 1, maxLength: 4000 }, { type: "string" }, ["x"]],
  [{ type: "string", pattern: "^(?!x)" }, { type: "string" }, ["y"]],
  [{ type: "string", pattern: "^[a-z]$" }, { type: "string", pattern: "^[a-z]$" }, ["y"]],
  [
    { type: "array", items: { type: "string", minLength: 1 }, uniqueItems: true },
    { type: "array", items: { type: "string" } },
    [["a"]],
  ],
  [{ type: "object" }, { type: "object", additionalProperties: true }, [{ b: [1] }]],
  [{ type: "object", additionalProperties: false }, { type: "object", additionalProperties: false }, [{}]],
  [
    { type: "object", propertyNames: { type: "string" }, additionalProperties: { type: "string" } },
    { type: "object", additionalProperties: { type: "string" } },
    [{ b: "c" }],
  ],
  [
    {
      type: "object",
      properties: { b: { type: "string" } },
      anyOf: [{ required: ["b"] }, { required: ["c"] }],
    },
    { type: "object", properties: { b: { type: "string" } } },
    [{ b: "c" }],
  ],
  [
    { anyOf: [{ type: "string" }, { type: "number", minimum: 1 }], minLength: 2 },
    { anyOf: [{ type: "string" }, { type: "number" }] },
    ["xy", 2],
  ],
  [{ allOf: [{ type: "string" }, { minLength: 1 }] }, {}, ["x"]],
  [{ $ref: "#/$defs/none", type: "string" }, { type: "object", additionalProperties: true }, []],
  [{ $ref: "#" }, { $ref: undefined }, [{}]],
  [{ enum: [] }, {}, []],
  [{ enum: ["x", "y"], minLength: 1 }, { enum: ["x", "y"] }, ["x"]],
  [{ type: "strnig" }, {}, []],
  [false, {}, []],
  [
    { type: "object", properties: { 'q"': {} } },
    { type: "object", additionalProperties: true },
    [{ 'q"': 1 }],
  ],
  [{ type: "array", items: [{ type: "string" }] }, { type: "array" }, [["x"]]],
])("%j is kept to as %j", (schema, expected, values) => {
  const loose = loosenSchema(inside(schema));
  checkSchema(loose);
  const kept = (loose.properties as { a: unknown } | undefined)?.a ?? loose;
  expect(kept).toEqual(expected);
  const accepts = ajv.compile(loose);
  for (const a of values) expect(accepts({ a }), JSON.stringify(a)).toBe(true);
});

test("what is too deep or too large is any object, and a tool whose schema names nothing takes nothing", () => {
  let deep: object = { type: "string" };
  for (let i = 0; i < 40; i++) deep = { type: "array", items: deep };
  checkSchema(loosenSchema(inside(deep)));
  const many = { enum: Array.from({ length: 20_000 }, (_, i) => `value ${i}`) };
  expect(loosenSchema(inside(many))).toEqual({ type: "object", additionalProperties: true });
  expect(loosenSchema({})).toEqual({ properties: {} });
  expect(loosenSchema({ type: "object" })).toEqual({ type: "object", properties: {} });
  expect(loosenSchema({ type: "object", additionalProperties: true })).toEqual({
    type: "object",
    additionalProperties: true,
  });
});
