/**
 * A model behind an OpenAI-compatible endpoint. Likelihoods need `/v1/completions` with `echo` and `logprobs`; answers need that or
 * `/v1/chat/completions`.
 */
import { BitNetError } from "@bitnet.ts/core";
import type { AnswerRequest, EvalModel, Likelihood, LikelihoodRequest } from "./eval-model.ts";

export interface EndpointOptions {
  /** Such as `http://127.0.0.1:8080/v1`. */
  url: string;
  model: string;
  apiKey?: string;
  signal?: AbortSignal;
}

interface CompletionChoice {
  text?: unknown;
  message?: { content?: unknown };
  logprobs?: { token_logprobs?: unknown; text_offset?: unknown } | null;
}

export function endpointModel({ url, model, apiKey, signal }: EndpointOptions): EvalModel {
  const base = url.replace(/\/+$/, "");
  const post = async (path: string, body: Record<string, unknown>): Promise<CompletionChoice> => {
    let response: Response;
    try {
      response = await fetch(`${base}${path}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        },
        body: JSON.stringify({ model, ...body }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (cause) {
      throw new BitNetError("IO_FAILED", `${base}${path}: cannot be reached (${(cause as Error).message})`, {
        cause,
      });
    }
    const text = await response.text();
    if (!response.ok)
      throw new BitNetError(
        "IO_FAILED",
        `${base}${path}: answered ${response.status}: ${text.slice(0, 200)}`,
      );
    const choice = parseChoice(text);
    if (choice === undefined)
      throw new BitNetError("FORMAT_INVALID", `${base}${path}: the answer holds no choices`);
    return choice;
  };

  const likelihood = async ({ context, continuation }: LikelihoodRequest): Promise<Likelihood> => {
    const { logprobs } = await post("/completions", {
      prompt: context + continuation,
      max_tokens: 1,
      echo: true,
      logprobs: 1,
      temperature: 0,
    });
    const values = logprobs?.token_logprobs;
    const offsets = logprobs?.text_offset;
    if (!Array.isArray(values) || !Array.isArray(offsets)) {
      throw new BitNetError(
        "FORMAT_UNSUPPORTED",
        `${base}/completions: gives no log-probabilities of the prompt (echo with logprobs), which this task needs`,
      );
    }
    return sumFrom(values, offsets, { start: context.length, end: context.length + continuation.length });
  };

  return {
    name: model,
    settings: { endpoint: base },
    async likelihoods(requests) {
      const results: Likelihood[] = [];
      for (const request of requests) results.push(await likelihood(request));
      return results;
    },
    async answer({ prompt, stop, maxTokens, sampling }: AnswerRequest) {
      const shared = {
        max_tokens: maxTokens,
        ...(sampling === undefined
          ? { temperature: 0 }
          : { temperature: sampling.temperature, top_p: sampling.topP, seed: sampling.seed }),
        ...(stop.length === 0 ? {} : { stop: stop.slice(0, 4) }),
      };
      const choice =
        typeof prompt === "string"
          ? await post("/completions", { prompt, ...shared })
          : await post("/chat/completions", { messages: prompt, ...shared });
      const text = choice.text ?? choice.message?.content ?? "";
      return cutAtStop(String(text), stop);
    },
    perplexity: null,
  };
}

function parseChoice(text: string): CompletionChoice | undefined {
  try {
    const { choices } = JSON.parse(text) as { choices?: unknown };
    return Array.isArray(choices) ? (choices[0] as CompletionChoice) : undefined;
  } catch {
    return undefined;
  }
}

/** Tokens that end behind `start`, so that one that spans the join counts, and begin before `end`: the generated one does not. */
function sumFrom(
  values: readonly unknown[],
  offsets: readonly unknown[],
  { start, end }: { start: number; end: number },
): Likelihood {
  let [sum, nTokens] = [0, 0];
  values.forEach((value, i) => {
    const next = i + 1 < offsets.length ? Number(offsets[i + 1]) : Number.POSITIVE_INFINITY;
    if (Number(offsets[i]) >= end || next <= start || typeof value !== "number") return;
    sum += value;
    nTokens++;
  });
  return { sum, nTokens };
}

/** Endpoints take few stop texts: the others are looked for here. */
function cutAtStop(text: string, stops: readonly string[]): string {
  const places = stops.map((stop) => text.indexOf(stop)).filter((place) => place >= 0);
  return places.length === 0 ? text : text.slice(0, Math.min(...places));
}
