// The AI SDK with four providers against a server: `node ai-sdk.mjs URL`. Prints what each has seen as JSON.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateObject, generateText, jsonSchema, streamText, tool } from "ai";
import { createOllama } from "ollama-ai-provider-v2";

// Standard output is for the result alone.
globalThis.AI_SDK_LOG_WARNINGS = false;
const [url] = process.argv.slice(2);
const key = { apiKey: "none" };
const compatible = createOpenAICompatible({
  ...{ name: "bitnet", baseURL: `${url}/v1`, includeUsage: true, supportsStructuredOutputs: true },
  ...key,
});
const openai = createOpenAI({ baseURL: `${url}/v1`, ...key });
const anthropic = createAnthropic({ baseURL: `${url}/v1`, ...key });
const ollama = createOllama({ baseURL: `${url}/api` });
const models = {
  "openai-compatible": [(name) => compatible(name), () => compatible.textEmbeddingModel("tiny")],
  "openai responses": [(name) => openai(name), () => openai.textEmbeddingModel("tiny")],
  "openai chat": [(name) => openai.chat(name), null],
  anthropic: [(name) => anthropic(name), null],
  ollama: [(name) => ollama(name), () => ollama.textEmbeddingModel("tiny")],
};

const inputSchema = jsonSchema({
  type: "object",
  properties: { c: { type: "string", enum: ["Rome", "Oslo"] } },
  required: ["c"],
  additionalProperties: false,
});
const common = { maxRetries: 0, temperature: 0, prompt: "Hi" };

async function see(name, model, embedding) {
  // Ollama's provider passes on what Ollama calls options, and nothing else.
  const given = (options) => ({ providerOptions: { ollama: { options: { temperature: 0, ...options } } } });
  const request = { ...common, model: model("tiny"), maxOutputTokens: 16, ...given({ num_predict: 16 }) };
  const long = { maxOutputTokens: 160, ...given({ num_predict: 160 }) };
  const streamed = streamText(request);
  let text = "";
  for await (const piece of streamed.textStream) text += piece;
  const whole = await generateText(request);
  const tools = { w: tool({ description: "weather", inputSchema }) };
  const called = await generateText({ ...request, ...long, tools, toolChoice: "required" });
  const { object } = await generateObject({ ...request, ...long, schema: inputSchema });
  // Responses know no stop texts.
  const stopped =
    name === "openai responses"
      ? null
      : await generateText({ ...request, stopSequences: ["e"], ...given({ num_predict: 16, stop: ["e"] }) });
  const leave = new AbortController();
  const left = streamText({ ...request, ...long, abortSignal: leave.signal, onError: () => {} });
  let aborted = false;
  for await (const part of left.fullStream) {
    if (part.type === "text-delta") leave.abort();
    if (part.type === "abort") aborted = true;
  }
  const failure = await generateText({ ...request, model: model("none") }).catch((error) => error);
  const vectors =
    embedding === null
      ? null
      : (await embedMany({ model: embedding(), values: ["war", "peace"], maxRetries: 0 })).embeddings;
  return {
    text,
    whole: whole.text,
    usage: (await streamed.usage).outputTokens,
    finish: await streamed.finishReason,
    calls: called.toolCalls.map(({ toolName, input }) => [toolName, input]),
    object,
    stopped: stopped?.text ?? null,
    aborted,
    failure: [APICallError.isInstance(failure), failure.statusCode, failure.message],
    dimensions: vectors?.map((vector) => vector.length) ?? null,
  };
}

const seen = {};
for (const [name, [model, embedding]] of Object.entries(models)) {
  try {
    seen[name] = await see(name, model, embedding);
  } catch (error) {
    seen[name] = { error: String(error?.stack ?? error).slice(0, 1500), body: error?.responseBody };
  }
}
console.log(JSON.stringify(seen));
