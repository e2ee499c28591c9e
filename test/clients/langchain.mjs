// LangChain with three providers against a server: `node langchain.mjs URL`. Prints what each has seen as JSON.
import { ChatAnthropic } from "@langchain/anthropic";
import { ChatOllama, OllamaEmbeddings } from "@langchain/ollama";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";

const [url] = process.argv.slice(2);
const common = { maxRetries: 0, temperature: 0 };
const configuration = { baseURL: `${url}/v1` };
const models = {
  openai: [
    (model, maxTokens) => new ChatOpenAI({ ...common, model, maxTokens, apiKey: "none", configuration }),
    () => new OpenAIEmbeddings({ model: "tiny", apiKey: "none", configuration, maxRetries: 0 }),
  ],
  anthropic: [
    (model, maxTokens) =>
      new ChatAnthropic({ ...common, model, maxTokens, apiKey: "none", anthropicApiUrl: url }),
    null,
  ],
  ollama: [
    (model, numPredict) => new ChatOllama({ ...common, model, numPredict, baseUrl: url }),
    () => new OllamaEmbeddings({ model: "tiny", baseUrl: url, maxRetries: 0 }),
  ],
};

const schema = {
  title: "city",
  type: "object",
  properties: { c: { type: "string", enum: ["Rome", "Oslo"] } },
  required: ["c"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "w", description: "weather", parameters: schema } }];

async function see(name, model, embedding) {
  let text = "";
  let usage;
  for await (const chunk of await model("tiny", 16).stream("Hi")) {
    text += chunk.text;
    usage = chunk.usage_metadata?.output_tokens ?? usage;
  }
  const whole = await model("tiny", 16).invoke("Hi");
  // Ollama has no way to force a call.
  const called =
    name === "ollama" ? null : await model("tiny", 160).bindTools(tools, { tool_choice: "any" }).invoke("Hi");
  const object = await model("tiny", 160)
    .withStructuredOutput(schema, { method: name === "anthropic" ? "functionCalling" : "jsonSchema" })
    .invoke("Hi");
  const stopped = await model("tiny", 16).invoke("Hi", { stop: ["e"] });
  const leave = new AbortController();
  let aborted = false;
  try {
    for await (const _ of await model("tiny", 200).stream("Hi", { signal: leave.signal })) leave.abort();
  } catch {
    aborted = leave.signal.aborted;
  }
  const failure = await model("none", 16)
    .invoke("Hi")
    .catch((error) => error);
  const vectors = embedding === null ? null : await embedding().embedDocuments(["war", "peace"]);
  return {
    text,
    whole: whole.text,
    usage,
    calls: called?.tool_calls.map(({ name: tool, args }) => [tool, args]) ?? null,
    object,
    stopped: stopped.text,
    aborted,
    failure: [failure instanceof Error, failure.status ?? failure.status_code, failure.message],
    dimensions: vectors?.map((vector) => vector.length) ?? null,
  };
}

const seen = {};
for (const [name, [model, embedding]] of Object.entries(models)) {
  try {
    seen[name] = await see(name, model, embedding);
  } catch (error) {
    seen[name] = { error: String(error?.stack ?? error).slice(0, 1500) };
  }
}
console.log(JSON.stringify(seen));
