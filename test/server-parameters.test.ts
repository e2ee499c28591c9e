/**
 * Every parameter that the published requests of three vendors define: it does what it says, is refused by name, or is passed over for a
 * reason. What a new version of their schemas adds has no rule yet, and fails here.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

let server: ServerProcess;
beforeAll(async () => {
  server = await startServerProcess(["--alias", "gpt", "--cache-bytes", "0"]);
});
afterAll(() => server?.end());

interface Answer {
  status: number;
  type: string;
  /** Null for a stream. */
  // biome-ignore lint/suspicious/noExplicitAny: answers of every dialect
  json: any;
  text: string;
}
type Rule =
  | { kind: "works"; body: object; shows: (answer: Answer, plain: Answer) => unknown; wrong: unknown }
  | { kind: "refused"; value: unknown }
  | { kind: "ignored"; value: unknown; why: string };
/** A value that is wrong for what most parameters take; null: any may be. */
const noValue = { wrong: true };

const works = (body: object, shows: (answer: Answer, plain: Answer) => unknown, wrong: unknown = noValue) =>
  ({ kind: "works", body, shows, wrong }) as const;
const refused = (value: unknown) => ({ kind: "refused", value }) as const;
const ignored = (value: unknown, why: string) => ({ kind: "ignored", value, why }) as const;

interface Dialect {
  file: string;
  name: string;
  path: string;
  method?: string;
  base: object;
  /** What the model has said, or what else the answer is about. */
  core: (json: Answer["json"]) => unknown;
  rules: Record<string, Rule>;
  /** Where the parameters stand, if not in the body itself. */
  within?: string;
}

const user = (content: string) => [{ role: "user", content }];
const schema = { type: "object", properties: { c: { enum: ["Rome"] } }, required: ["c"] };
const parameters = { type: "object", properties: { c: { enum: ["Rome", "Oslo"] } }, required: ["c"] };
const tools = [{ type: "function", function: { name: "w", parameters } }];
const flatTools = [{ type: "function", name: "w", parameters }];
/** A whole call takes some tokens. */
const room = { max_tokens: 150, max_output_tokens: 150 };
const must = { tools, tool_choice: "required", ...room };
const isRome = (text: string) => expect(JSON.parse(text)).toEqual({ c: "Rome" });
const status = (wanted: number) => (answer: Answer) => expect(answer.status).toBe(wanted);
const isStream = ({ type }: Answer) => expect(type).toMatch(/event-stream|ndjson/);
const known = ({ json }: Answer) => expect(json.model).toBe("gpt");

const stored = "it is for what the vendor keeps or bills";
const cached = "prefixes are found in the cache by what they are, within a tenant";
const effort = "models here have no such switch";

/** Of chats, completions and responses alike. */
function sampling(core: Dialect["core"]): Record<"temperature" | "top_p", Rule> {
  const differs = (body: object) =>
    works(body, (answer, plain) => expect(core(answer.json)).not.toEqual(core(plain.json)));
  return { temperature: differs({ temperature: 0 }), top_p: differs({ top_p: 0.1 }) };
}

const chatText = (json: Answer["json"]) => json.choices[0].message.content;
const completionText = (json: Answer["json"]) => json.choices.map((choice: { text: string }) => choice.text);
const responseText = (json: Answer["json"]) => json.output[0].content?.[0].text;
const differs = (core: Dialect["core"]) => (body: object, wrong?: unknown) =>
  works(body, (answer, plain) => expect(core(answer.json)).not.toEqual(core(plain.json)), wrong);
const chatDiffers = differs(chatText);
const completionDiffers = differs(completionText);

const openaiChat: Dialect = {
  ...{ file: "openai-requests", name: "CreateChatCompletionRequest", path: "/v1/chat/completions" },
  base: { model: "tiny", messages: user("The state of the union"), max_tokens: 24, seed: 2, temperature: 1 },
  core: chatText,
  rules: {
    ...sampling(chatText),
    model: works({ model: "gpt" }, known),
    messages: chatDiffers({ messages: user("War") }),
    max_tokens: works({ max_tokens: 3 }, ({ json }) => expect(json.usage.completion_tokens).toBe(3)),
    max_completion_tokens: works({ max_completion_tokens: 3 }, ({ json }) =>
      expect(json.usage.completion_tokens).toBe(3),
    ),
    n: works({ n: 2 }, ({ json }) => expect(json.choices.length).toBe(2)),
    seed: chatDiffers({ seed: 3 }),
    stop: chatDiffers({ stop: "e" }),
    frequency_penalty: chatDiffers({ frequency_penalty: 2 }),
    presence_penalty: chatDiffers({ presence_penalty: -2 }),
    logit_bias: chatDiffers({ logit_bias: { 259: 100 } }),
    logprobs: works({ logprobs: true }, ({ json }) =>
      expect(json.choices[0].logprobs.content.length).toBe(24),
    ),
    top_logprobs: works({ logprobs: true, top_logprobs: 2 }, ({ json }) =>
      expect(json.choices[0].logprobs.content[0].top_logprobs.length).toBe(2),
    ),
    response_format: works(
      { response_format: { type: "json_schema", json_schema: { name: "x", schema } } },
      ({ json }) => isRome(chatText(json)),
      5,
    ),
    tools: works(must, ({ json }) => expect(json.choices[0].message.tool_calls[0].function.name).toBe("w")),
    tool_choice: works({ ...must, tool_choice: { type: "function", function: { name: "w" } } }, ({ json }) =>
      expect(json.choices[0].message.tool_calls.length).toBe(1),
    ),
    parallel_tool_calls: works({ ...must, parallel_tool_calls: false, max_tokens: 200 }, ({ json }) =>
      expect(json.choices[0].message.tool_calls.length).toBe(1),
    ),
    stream: works({ stream: true }, isStream),
    stream_options: works(
      { stream: true, stream_options: { include_usage: true } },
      ({ text }) => expect(text).toContain('"completion_tokens":24'),
      5,
    ),
    modalities: refused(["text", "audio"]),
    audio: refused({ voice: "alloy", format: "wav" }),
    web_search_options: refused({ search_context_size: "low" }),
    moderation: refused({ model: "omni-moderation-latest" }),
    functions: refused([{ name: "w", parameters }]),
    function_call: refused({ name: "w" }),
    metadata: ignored({ a: "b" }, stored),
    store: ignored(true, stored),
    user: ignored("me", stored),
    safety_identifier: ignored("me", stored),
    service_tier: ignored("flex", stored),
    prompt_cache_key: ignored("k", cached),
    prompt_cache_retention: ignored("24h", cached),
    prompt_cache_options: ignored({}, cached),
    prediction: ignored({ type: "content", content: "x" }, "it may make an answer faster, not another one"),
    verbosity: ignored("low", effort),
    reasoning_effort: ignored("low", effort),
  },
};

const openaiCompletion: Dialect = {
  ...{ file: "openai-requests", name: "CreateCompletionRequest", path: "/v1/completions" },
  base: { model: "tiny", prompt: "The state of the union", max_tokens: 24, seed: 2, temperature: 1 },
  core: completionText,
  rules: {
    ...sampling(completionText),
    model: works({ model: "gpt" }, known),
    prompt: completionDiffers({ prompt: "War" }),
    echo: works({ echo: true }, ({ json }) =>
      expect(json.choices[0].text).toMatch(/^The state of the union/),
    ),
    frequency_penalty: completionDiffers({ frequency_penalty: 2 }),
    presence_penalty: completionDiffers({ presence_penalty: -2 }),
    logit_bias: completionDiffers({ logit_bias: { 259: 100 } }),
    logprobs: works({ logprobs: 2 }, ({ json }) =>
      expect(Object.keys(json.choices[0].logprobs.top_logprobs[0]).length).toBeGreaterThanOrEqual(2),
    ),
    max_tokens: works({ max_tokens: 3 }, ({ json }) => expect(json.usage.completion_tokens).toBe(3)),
    n: works({ n: 2 }, ({ json }) => expect(json.choices.length).toBe(2)),
    seed: completionDiffers({ seed: 3 }),
    stop: completionDiffers({ stop: ["e"] }),
    stream: works({ stream: true }, isStream),
    stream_options: works(
      { stream: true, stream_options: { include_usage: true } },
      ({ text }) => expect(text).toContain('"completion_tokens":24'),
      5,
    ),
    best_of: refused(2),
    suffix: refused("the end"),
    user: ignored("me", stored),
  },
};

const firstVector = (json: Answer["json"]) => json.data[0].embedding;
const openaiEmbedding: Dialect = {
  ...{ file: "openai-requests", name: "CreateEmbeddingRequest", path: "/v1/embeddings" },
  base: { model: "tiny", input: "war", encoding_format: "float" },
  core: firstVector,
  rules: {
    input: differs(firstVector)({ input: "peace" }),
    model: works({ model: "gpt" }, known),
    encoding_format: works({ encoding_format: "base64" }, ({ json }) =>
      expect(typeof firstVector(json)).toBe("string"),
    ),
    dimensions: works({ dimensions: 8 }, ({ json }) => expect(firstVector(json).length).toBe(8)),
    user: ignored("me", stored),
  },
};

const responseDiffers = differs(responseText);
const openaiResponses: Dialect = {
  ...{ file: "openai-requests", name: "CreateResponse", path: "/v1/responses" },
  base: { model: "tiny", input: "The state of the union", max_output_tokens: 24, seed: 2, temperature: 1 },
  core: responseText,
  rules: {
    ...sampling(responseText),
    model: works({ model: "gpt" }, known),
    input: responseDiffers({ input: "War" }),
    instructions: responseDiffers({ instructions: "Speak of war." }),
    max_output_tokens: works({ max_output_tokens: 16 }, ({ json }) =>
      expect(json.usage.output_tokens).toBe(16),
    ),
    previous_response_id: works({ previous_response_id: "resp_none" }, status(404)),
    metadata: works({ metadata: { a: "b" } }, ({ json }) => expect(json.metadata).toEqual({ a: "b" }), null),
    top_logprobs: works({ top_logprobs: 2 }, ({ json }) =>
      expect(json.output[0].content[0].logprobs[0].top_logprobs.length).toBe(2),
    ),
    include: works({ include: ["message.output_text.logprobs"] }, ({ json }) => {
      const bytes = json.output[0].content[0].logprobs.flatMap((each: { bytes: number[] }) => each.bytes);
      expect(new TextDecoder().decode(Uint8Array.from(bytes))).toBe(responseText(json));
    }),
    text: works(
      { text: { format: { type: "json_schema", name: "x", schema } } },
      ({ json }) => isRome(responseText(json)),
      5,
    ),
    tools: works({ tools: flatTools, tool_choice: "required", ...room }, ({ json }) =>
      expect(json.output[0]).toMatchObject({ type: "function_call", name: "w" }),
    ),
    tool_choice: works(
      { tools: flatTools, tool_choice: { type: "function", name: "w" }, ...room },
      ({ json }) => expect(json.output.length).toBe(1),
    ),
    parallel_tool_calls: works(
      { tools: flatTools, tool_choice: "required", parallel_tool_calls: false, max_output_tokens: 200 },
      ({ json }) => expect(json.output.length).toBe(1),
    ),
    store: works({ store: false }, async ({ json }) =>
      expect((await server.get(`/v1/responses/${json.id}`)).status).toBe(404),
    ),
    stream: works({ stream: true }, isStream),
    background: refused(true),
    conversation: refused("conv_1"),
    prompt: refused({ id: "pmpt_1" }),
    moderation: refused({ model: "omni-moderation-latest" }),
    user: ignored("me", stored),
    safety_identifier: ignored("me", stored),
    service_tier: ignored("flex", stored),
    prompt_cache_key: ignored("k", cached),
    prompt_cache_retention: ignored("24h", cached),
    prompt_cache_options: ignored({}, cached),
    max_tool_calls: ignored(1, "it counts calls of the vendor's own tools, of which none are here"),
    reasoning: ignored({ effort: "low" }, effort),
    truncation: ignored("auto", "what is too long is refused; nothing is left out unasked"),
    context_management: ignored([{ type: "compaction" }], "what is too long is refused"),
    stream_options: ignored({ include_obfuscation: false }, "nothing is padded"),
  },
};

const ollamaChatText = (json: Answer["json"]) => json.message.content;
const options = { num_predict: 24, seed: 2, temperature: 1 };
const keptAlive = works({ keep_alive: "10m" }, status(200), "soon");
const ollamaChat: Dialect = {
  ...{ file: "ollama", name: "ChatRequest", path: "/api/chat" },
  base: { model: "tiny", messages: user("The state of the union"), stream: false, options },
  core: ollamaChatText,
  rules: {
    model: works({ model: "gpt" }, known),
    messages: differs(ollamaChatText)({ messages: user("War") }),
    tools: works({ tools }, ({ json }, plain) =>
      expect(json.prompt_eval_count).toBeGreaterThan(plain.json.prompt_eval_count),
    ),
    format: works({ format: schema }, ({ json }) => isRome(ollamaChatText(json)), 5),
    options: differs(ollamaChatText)({ options: { ...options, seed: 3 } }, 5),
    stream: works({ stream: true }, isStream),
    keep_alive: keptAlive,
    logprobs: works({ logprobs: true }, ({ json }) => expect(json.logprobs.length).toBe(24)),
    top_logprobs: works({ logprobs: true, top_logprobs: 3 }, ({ json }) =>
      expect(json.logprobs[0].top_logprobs.length).toBe(3),
    ),
    think: ignored(true, "the template of this model has no such choice"),
  },
};

const ollamaText = (json: Answer["json"]) => json.response;
const ollamaGenerate: Dialect = {
  ...{ file: "ollama", name: "GenerateRequest", path: "/api/generate" },
  base: { model: "tiny", prompt: "The state of the union", stream: false, options },
  core: ollamaText,
  rules: {
    model: works({ model: "gpt" }, known),
    prompt: differs(ollamaText)({ prompt: "War" }),
    system: differs(ollamaText)({ system: "Speak of war." }),
    raw: differs(ollamaText)({ raw: true }),
    format: works({ format: schema }, ({ json }) => isRome(ollamaText(json)), 5),
    options: differs(ollamaText)({ options: { ...options, seed: 3 } }, 5),
    stream: works({ stream: true }, isStream),
    keep_alive: keptAlive,
    logprobs: works({ logprobs: true }, ({ json }) => expect(json.logprobs.length).toBe(24)),
    top_logprobs: works({ logprobs: true, top_logprobs: 3 }, ({ json }) =>
      expect(json.logprobs[0].top_logprobs.length).toBe(3),
    ),
    suffix: refused("the end"),
    images: refused(["aGk="]),
    think: ignored(true, "the template of this model has no such choice"),
  },
};

const optionDiffers = differs(ollamaText);
const ollamaOptions: Dialect = {
  ...{ file: "ollama", name: "ModelOptions", path: "/api/generate", within: "options" },
  base: { model: "tiny", prompt: "The state of the union", stream: false, options },
  core: ollamaText,
  rules: {
    seed: optionDiffers({ seed: 3 }),
    temperature: optionDiffers({ temperature: 0 }),
    top_k: optionDiffers({ top_k: 2 }),
    top_p: optionDiffers({ top_p: 0.1 }),
    min_p: optionDiffers({ min_p: 0.5 }),
    stop: optionDiffers({ stop: ["e"] }),
    num_predict: works({ num_predict: 3 }, ({ json }) => expect(json.eval_count).toBe(3)),
    num_ctx: ignored(128, "the context is made when the model is loaded"),
  },
};

const ollamaVector = (json: Answer["json"]) => json.embeddings[0];
const ollamaEmbed: Dialect = {
  ...{ file: "ollama", name: "EmbedRequest", path: "/api/embed" },
  base: { model: "tiny", input: "war" },
  core: ollamaVector,
  rules: {
    model: works({ model: "gpt" }, known),
    input: differs(ollamaVector)({ input: "peace" }),
    truncate: works({ input: "war ".repeat(400), truncate: false }, status(400)),
    dimensions: works({ dimensions: 8 }, ({ json }) => expect(ollamaVector(json).length).toBe(8)),
    keep_alive: keptAlive,
    options: ignored(
      { num_ctx: 128 },
      "nothing is sampled, and the context is made when the model is loaded",
    ),
  },
};

const ollamaOthers: Dialect[] = [
  {
    ...{ file: "ollama", name: "ShowRequest", path: "/api/show", base: { model: "tiny" } },
    core: (json) => json.model_info,
    rules: {
      model: works({ model: "none" }, status(404)),
      verbose: ignored(true, "there are no larger fields than those that are shown"),
    },
  },
  {
    ...{ file: "ollama", name: "PullRequest", path: "/api/pull", base: { model: "tiny", stream: false } },
    core: (json) => json.status,
    rules: {
      model: works({ model: "owner/name" }, status(403)),
      stream: works({ stream: true }, isStream),
      insecure: refused(true),
    },
  },
  {
    ...{
      file: "ollama",
      name: "DeleteRequest",
      path: "/api/delete",
      method: "DELETE",
      base: { model: "none" },
    },
    core: (json) => json,
    rules: { model: works({ model: "x/y" }, status(403)) },
  },
];

const messageText = (json: Answer["json"]) => json.content[0].text;
const messageDiffers = differs(messageText);
const claudeTools = [{ name: "w", input_schema: parameters }];
const anthropicIgnored: Record<string, Rule> = {
  cache_control: ignored({ type: "ephemeral" }, cached),
  speed: ignored("fast", "there is one speed"),
  thinking: ignored({ type: "enabled", budget_tokens: 1024 }, effort),
  user_profile_id: ignored("me", stored),
  workspace_id: ignored("w", stored),
};
const anthropicMessages: Dialect = {
  ...{ file: "anthropic", name: "MessageCreateParamsNonStreaming", path: "/v1/messages" },
  base: { model: "tiny", messages: user("The state of the union"), max_tokens: 24, seed: 2, temperature: 1 },
  core: messageText,
  rules: {
    ...anthropicIgnored,
    // Not in the newest schema any more; clients send them.
    ...sampling(messageText),
    top_k: messageDiffers({ top_k: 2 }),
    model: works({ model: "gpt" }, known),
    messages: messageDiffers({ messages: user("War") }),
    max_tokens: works({ max_tokens: 3 }, ({ json }) => expect(json.usage.output_tokens).toBe(3)),
    output_config: works(
      { output_config: { format: { type: "json_schema", schema } } },
      ({ json }) => isRome(messageText(json)),
      5,
    ),
    stop_sequences: works({ stop_sequences: ["e"] }, ({ json }) => expect(json.stop_sequence).toBe("e")),
    stream: works({ stream: true }, isStream),
    system: messageDiffers({ system: "Speak of war." }),
    tools: works(
      { tools: claudeTools, tool_choice: { type: "any", disable_parallel_tool_use: true }, ...room },
      ({ json }) => expect(json.content[0]).toMatchObject({ type: "tool_use", name: "w" }),
    ),
    tool_choice: works(
      { tools: claudeTools, tool_choice: { type: "tool", name: "w" }, ...room },
      ({ json }) => expect(json.content[0].type).toBe("tool_use"),
    ),
    container: refused("container_1"),
    diagnostics: ignored({ previous_message_id: null }, stored),
    inference_geo: ignored("eu", "it is computed where this server stands"),
    metadata: ignored({ user_id: "me" }, stored),
    service_tier: ignored("auto", stored),
  },
};

const nTokens = (json: Answer["json"]) => json.input_tokens;
const countDiffers = differs(nTokens);
const anthropicCount: Dialect = {
  ...{ file: "anthropic", name: "MessageCountTokensParams", path: "/v1/messages/count_tokens" },
  base: { model: "tiny", messages: user("War") },
  core: nTokens,
  rules: {
    ...anthropicIgnored,
    messages: countDiffers({ messages: user("War and peace") }),
    model: works({ model: "none" }, status(404)),
    system: countDiffers({ system: "Be brief." }),
    tools: countDiffers({ tools: claudeTools }),
    tool_choice: works({ tools: claudeTools, tool_choice: { type: "none" } }, ({ json }, plain) =>
      expect(json).toEqual(plain.json),
    ),
    output_config: ignored(
      { format: { type: "json_schema", schema } },
      "the form of an answer takes no tokens of its prompt",
    ),
  },
};

interface WireSchema {
  properties?: Record<string, unknown>;
  $ref?: string;
  allOf?: WireSchema[];
}

/** Names of all properties of a request, those of its parts included. */
function wireProperties(file: string, name: string): string[] {
  const text = readFileSync(new URL(`wire/${file}.json`, import.meta.url), "utf8");
  const { $defs } = JSON.parse(text) as { $defs: Record<string, WireSchema> };
  const names = new Set<string>();
  const read = (part: WireSchema | undefined) => {
    if (part?.$ref !== undefined) read($defs[part.$ref.split("/").at(-1) ?? ""]);
    for (const each of Object.keys(part?.properties ?? {})) names.add(each);
    part?.allOf?.forEach(read);
  };
  read($defs[name]);
  return [...names];
}

async function ask({ path, method = "POST" }: Dialect, body: object): Promise<Answer> {
  const response = await fetch(server.url + path, { method, body: JSON.stringify(body) });
  const text = await response.text();
  const type = response.headers.get("content-type") ?? "";
  return {
    status: response.status,
    type,
    text,
    json: type.includes("application/json") ? JSON.parse(text) : null,
  };
}

function errorText({ json }: Answer): string {
  return typeof json?.error === "string" ? json.error : (json?.error?.message ?? "");
}

describe.each([
  ...[openaiChat, openaiCompletion, openaiEmbedding, openaiResponses],
  ...[ollamaChat, ollamaGenerate, ollamaOptions, ollamaEmbed, ...ollamaOthers],
  ...[anthropicMessages, anthropicCount],
])("$file $name", (dialect) => {
  const { file, name, base, core, rules, within } = dialect;
  const withFields = (fields: object) =>
    within === undefined
      ? { ...base, ...fields }
      : { ...base, [within]: { ...(base as Record<string, object>)[within], ...fields } };
  let plain: Answer;
  beforeAll(async () => {
    plain = await ask(dialect, base);
  });

  test("every parameter has a rule", () => {
    expect(wireProperties(file, name).filter((property) => rules[property] === undefined)).toEqual([]);
  });

  test.each(Object.entries(rules))("%s", async (property, rule) => {
    if (rule.kind === "works") {
      const answer = await ask(dialect, withFields(rule.body));
      expect(answer.status, answer.text).not.toBe(500);
      await rule.shows(answer, plain);
      if (rule.wrong === null) return;
      const wrong = await ask(dialect, withFields({ ...rule.body, [property]: rule.wrong }));
      expect([wrong.status, errorText(wrong)]).toEqual([400, expect.stringContaining(property)]);
      return;
    }
    const answer = await ask(dialect, withFields({ [property]: rule.value }));
    if (rule.kind === "refused")
      expect([answer.status, errorText(answer)]).toEqual([400, expect.stringContaining(property)]);
    else expect([answer.status, core(answer.json)]).toEqual([200, core(plain.json)]);
  });
});
