/** Servers as strategies: any with OpenAI's API, and that of bitnet.cpp (llama-server). */
import { BitNetError } from "@bitnet.ts/core";
import { post, readEvents } from "./completion-request.ts";
import { messageOf } from "./own-engines.ts";
import {
  available,
  type Deployment,
  type EnvironmentCheck,
  type Strategy,
  type StrategyText,
  unavailable,
} from "./strategy.ts";

/** Whether somebody answers there at all. */
async function probe(url: string, headers: Record<string, string> = {}): Promise<EnvironmentCheck> {
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(5000), redirect: "error" });
    await response.body?.cancel();
    return response.ok ? available(url) : unavailable(`${url} answered ${response.status}`);
  } catch (error) {
    const { cause } = error as { cause?: unknown };
    return unavailable(`${url} cannot be reached: ${messageOf(cause ?? error)}`);
  }
}

const trimmed = (url: string) => url.replace(/\/+$/, "");

export const openaiEndpoint: Strategy = {
  name: "openai endpoint",
  runs: "other",
  isParallel: true,
  async check({ endpoint, endpointKey }) {
    if (endpoint === undefined) return unavailable("no endpoint was named");
    const headers = endpointKey === undefined ? {} : { authorization: `Bearer ${endpointKey}` };
    return probe(`${trimmed(endpoint)}/models`, headers);
  },
  async deploy({ endpoint = "", endpointModel = "default", endpointKey: key }): Promise<Deployment> {
    const url = `${trimmed(endpoint)}/completions`;
    return {
      detail: endpointModel,
      async generate({ prompt, maxTokens, signal, onText }) {
        const body = { model: endpointModel, prompt, max_tokens: maxTokens, temperature: 0, stream: true };
        const response = await post(url, body, { signal, key });
        let text = "";
        for await (const event of readEvents(response)) {
          const piece = textOfChunk(event, url);
          if (piece !== "") onText();
          text += piece;
        }
        return { text, saidTokensPerSecond: null };
      },
      memoryBytes: () => null,
      dispose: async () => {},
    };
  },
};

function textOfChunk(event: Record<string, unknown>, url: string): string {
  const { error, choices } = event as { error?: { message?: unknown }; choices?: { text?: unknown }[] };
  if (error !== undefined) throw new BitNetError("IO_FAILED", `${url}: ${String(error.message ?? error)}`);
  if (!Array.isArray(choices)) throw new BitNetError("FORMAT_INVALID", `${url}: an event without choices`);
  const text = choices[0]?.text;
  return typeof text === "string" ? text : "";
}

/** The server of bitnet.cpp, at a URL. */
export async function checkLlamaServer(url: string): Promise<EnvironmentCheck> {
  return probe(`${trimmed(url)}/health`);
}

export async function deployLlamaServer(base: string): Promise<Deployment> {
  const url = `${trimmed(base)}/completion`;
  return {
    detail: base,
    async generate({ prompt, maxTokens, signal, onText }) {
      const body = {
        prompt,
        n_predict: maxTokens,
        temperature: 0,
        repeat_penalty: 1,
        ignore_eos: true,
        stream: true,
      };
      const found: StrategyText = { text: "", saidTokensPerSecond: null };
      for await (const event of readEvents(await post(url, body, { signal }))) {
        const { content, timings } = event as {
          content?: unknown;
          timings?: { predicted_per_second?: unknown };
        };
        if (typeof content !== "string")
          throw new BitNetError("FORMAT_INVALID", `${url}: an event without content`);
        if (content !== "") onText();
        found.text += content;
        found.saidTokensPerSecond = numberOr(timings?.predicted_per_second) ?? found.saidTokensPerSecond;
      }
      return found;
    },
    memoryBytes: () => null,
    dispose: async () => {},
  };
}

function numberOr(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null;
}
