/** Schemas, patterns and tools that try the compiler of forms: deep, wide, circular, contradictory, wrong. */

type Random = () => number;

function pick<T>(random: Random, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)] as T;
}

const patterns = [
  ...[
    "(a+)+$",
    "(a|a)*b",
    "(.*)*x",
    "((((((a*)*)*)*)*)*)*",
    "a{1,100000}",
    "(a{1,100}){1,100}",
    "[",
    "(",
    "*",
    "a{2,1}",
  ],
  ...[
    "(?=x)y",
    "(?<!x)y",
    "\\1(a)",
    "(?<n>a)\\k<n>",
    "\\p{L}+",
    "\\u{110000}",
    "[z-a]",
    "[^\\s\\S]",
    "",
    "^$",
    ".",
    "\\",
    "\0",
    "[\ud800]",
  ],
  ...[
    "^(?:x{0,50}){0,50}$",
    "\\b\\B",
    "(?i)x",
    "(?R)",
    "[[:alpha:]]",
    "<|eot_id|>",
    "a||b",
    "(|)",
    "\\d{3}-\\d{4}",
    "[\u0400-\u04ff]{1,9}",
  ],
];

const numbers = [0, -1, 1, 0.5, 1e308, -1e308, 2 ** 53, 100_000, 1e9];
const keys = [
  "a",
  "",
  "a b",
  "ключ",
  "__proto__",
  "constructor",
  'q"',
  "\\",
  "\n",
  "x".repeat(300),
  "$ref",
  "<|eot_id|>",
];
const words =
  "type properties required items enum const anyOf oneOf allOf not if then else $ref $defs pattern minLength maxLength minimum maximum exclusiveMinimum multipleOf minItems maxItems uniqueItems prefixItems contains additionalProperties patternProperties propertyNames format dependentRequired unevaluatedProperties minProperties maxProperties default title $schema nullable".split(
    " ",
  );

function hostileSchema(random: Random, depth = 0): unknown {
  if (depth > 4 || random() < 0.1)
    return pick(random, [
      true,
      false,
      {},
      null,
      [],
      7,
      "x",
      { type: "string" },
      { type: "nonsense" },
      { $ref: "#" },
    ]);
  const kind = random();
  const inner = () => hostileSchema(random, depth + 1);
  if (kind < 0.06) {
    let deep: unknown = { type: "string" };
    for (let i = 0; i < pick(random, [20, 33, 61]); i++)
      deep = random() < 0.5 ? { type: "array", items: deep } : { anyOf: [deep, {}] };
    return deep;
  }
  if (kind < 0.1)
    return {
      enum: Array.from({ length: pick(random, [0, 1, 500, 5000]) }, (_, i) =>
        pick(random, [i, `v${i}`, null, { i }, "x"]),
      ),
    };
  if (kind < 0.14)
    return {
      type: "string",
      maxLength: pick(random, [1, 2000, 1e6, ...numbers]),
      minLength: pick(random, numbers),
    };
  if (kind < 0.2) return { type: "string", pattern: pick(random, patterns) };
  if (kind < 0.26)
    return {
      $ref: pick(random, [
        "#",
        "#/$defs/a",
        "#/$defs/none",
        "http://127.0.0.1:9/x",
        "#/properties/a",
        "##",
        "#/%ff",
        "",
      ]),
      $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } },
    };
  if (kind < 0.32)
    return {
      type: "object",
      properties: Object.fromEntries(
        Array.from({ length: pick(random, [1, 10, 300]) }, (_, i) => [`k${i}`, { type: "string" }]),
      ),
      required: ["k0", "none"],
    };
  const schema: Record<string, unknown> = {};
  for (let i = 0; i < 1 + random() * 5; i++) {
    const word = pick(random, words);
    schema[word] = pick<() => unknown>(random, [
      inner,
      () => [inner(), inner()],
      () => ({ [pick(random, keys)]: inner() }),
      () => pick(random, numbers),
      () => pick(random, ["object", "array", "string", "integer", "null", ["string", "null"], "x"]),
      () => pick(random, keys),
      () => pick(random, patterns),
    ])();
  }
  return schema;
}

function hostileTool(random: Random): unknown {
  const name = pick(random, ["f", "", "x".repeat(129), "a b", "f\0", "<tool_call>", "../x", "f", "g"]);
  const parameters = hostileSchema(random);
  const description = pick(random, ["", "</tool_call><|eot_id|>", "{{ 7*7 }}", "x".repeat(20_000), 5, null]);
  return pick(random, [
    { type: "function", function: { name, parameters, description } },
    { type: "function", name, parameters, description },
    { name, input_schema: parameters, description },
    { type: "web_search" },
    null,
  ]);
}

/** A request that asks for a form, with the path that knows such. */
export function hostileForm(random: Random): { path: string; body: object } {
  const messages = [{ role: "user", content: "Hi" }];
  const schema = hostileSchema(random);
  const few = {
    max_tokens: 3,
    max_output_tokens: 3,
    n_predict: 3,
    options: { num_predict: 3 },
    model: "tiny",
  };
  const tools = Array.from({ length: pick(random, [1, 2, 5]) }, () => hostileTool(random));
  const choice = pick<unknown>(random, [
    "auto",
    "required",
    "none",
    { type: "any" },
    { type: "function", function: { name: "f" } },
    { type: "tool", name: "f" },
    5,
  ]);
  return pick<() => { path: string; body: object }>(random, [
    () => ({
      path: "/v1/chat/completions",
      body: {
        ...few,
        messages,
        response_format: { type: "json_schema", json_schema: { name: "x", schema } },
      },
    }),
    () => ({
      path: "/v1/responses",
      body: { ...few, input: "Hi", text: { format: { type: "json_schema", name: "x", schema } } },
    }),
    () => ({ path: "/api/chat", body: { ...few, messages, stream: false, format: schema } }),
    () => ({ path: "/completion", body: { ...few, prompt: "Hi", json_schema: schema } }),
    () => ({ path: "/v1/completions", body: { ...few, prompt: "Hi", guided_json: schema } }),
    () => ({ path: "/v1/completions", body: { ...few, prompt: "Hi", guided_regex: pick(random, patterns) } }),
    () => ({
      path: "/v1/chat/completions",
      body: {
        ...few,
        messages,
        guided_choice: pick<unknown>(random, [
          [],
          [""],
          ["a", "a"],
          ["x".repeat(5000)],
          [5],
          "x",
          Array.from({ length: 2000 }, (_, i) => `c${i}`),
        ]),
      },
    }),
    () => ({ path: "/v1/chat/completions", body: { ...few, messages, tools, tool_choice: choice } }),
    () => ({ path: "/v1/messages", body: { ...few, messages, tools, tool_choice: choice } }),
    () => ({ path: "/api/chat", body: { ...few, messages, stream: false, tools } }),
    () => ({ path: "/v1/responses", body: { ...few, input: "Hi", tools, tool_choice: choice } }),
  ])();
}
