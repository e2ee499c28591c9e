/** Clients of a server: such as ask again as soon as they have their answer, and such as come as they like (Poisson). Knows no server. */

export interface Load {
  readonly name: string;
  /** Clients that ask again as soon as they have their answer; null: requests come by themselves. */
  readonly concurrency: number | null;
  /** Requests a second, for those. */
  readonly rate: number;
  readonly nRequests: number;
  /** Nothing is asked after so long. */
  readonly seconds: number;
}

export interface Outcome {
  readonly status: number;
  /** To the headers of a refusal, or the end of an answer. */
  readonly ms: number;
  readonly firstTokenMs: number;
  readonly gapsMs: readonly number[];
  readonly nTokens: number;
}

export interface LoadFigures {
  readonly load: string;
  readonly answered: number;
  readonly refused: number;
  readonly refusal99: number | null;
  readonly first50: number | null;
  readonly first95: number | null;
  readonly first99: number | null;
  readonly gap50: number | null;
  readonly gap95: number | null;
  readonly gap99: number | null;
  /** To the end of an answer. */
  readonly whole99: number | null;
  readonly tokens: number;
  readonly requests: number;
  readonly good: number;
}

/** An answer counts as good when its first token came in so much time. */
export const goodFirstTokenMs = 1000;

type Ask = (index: number) => Promise<Outcome>;

export async function measureLoad(ask: Ask, load: Load): Promise<LoadFigures> {
  const start = performance.now();
  const outcomes =
    load.concurrency === null ? await arrive(ask, load) : await askInTurn(ask, load, load.concurrency);
  return figuresOf(load.name, outcomes, (performance.now() - start) / 1000);
}

export function figuresOf(load: string, outcomes: readonly Outcome[], seconds: number): LoadFigures {
  const answered = outcomes.filter(({ status }) => status === 200);
  const refused = outcomes.filter(({ status }) => status !== 200);
  const gaps = answered.flatMap(({ gapsMs }) => gapsMs);
  const firsts = answered.map(({ firstTokenMs }) => firstTokenMs);
  const wholes = answered.map(({ ms }) => ms);
  const refusals = refused.map(({ ms }) => ms);
  return {
    load,
    answered: answered.length,
    refused: refused.length,
    refusal99: quantile(refusals, 0.99),
    first50: quantile(firsts, 0.5),
    first95: quantile(firsts, 0.95),
    first99: quantile(firsts, 0.99),
    gap50: quantile(gaps, 0.5),
    gap95: quantile(gaps, 0.95),
    gap99: quantile(gaps, 0.99),
    whole99: quantile(wholes, 0.99),
    tokens: answered.reduce((sum, each) => sum + each.nTokens, 0) / seconds,
    requests: answered.length / seconds,
    good: firsts.filter((ms) => ms <= goodFirstTokenMs).length / seconds,
  };
}

async function askInTurn(ask: Ask, load: Load, concurrency: number): Promise<Outcome[]> {
  const until = performance.now() + 1000 * load.seconds;
  const outcomes: Outcome[] = [];
  let next = 0;
  const client = async () => {
    // Every client asks once.
    for (let isFirst = true; next < load.nRequests && (isFirst || performance.now() < until); isFirst = false)
      outcomes.push(await ask(next++));
  };
  await Promise.all(Array.from({ length: concurrency }, client));
  return outcomes;
}

/** Requests come at random, whatever has become of those before. */
async function arrive(ask: Ask, { nRequests, rate, seconds }: Load): Promise<Outcome[]> {
  const start = performance.now();
  const running: Promise<Outcome>[] = [];
  let state = 12_345;
  let at = 0;
  for (let i = 0; i < nRequests; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    at += (-Math.log((state + 1) / 2 ** 32) / rate) * 1000;
    if (at > 1000 * seconds) break;
    // By the clock, so that timers that are late do not make the load lighter.
    const waitMs = start + at - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    running.push(ask(i));
  }
  return Promise.all(running);
}

/** A streamed completion of `nTokens` tokens. */
export async function askServer(url: string, index: number, nTokens: number): Promise<Outcome> {
  const start = performance.now();
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    body: JSON.stringify({
      prompt: `${index} things that the people of the United States have said about the state of the Union, number ${index}:`,
      max_tokens: nTokens,
      ignore_eos: true,
      stream: true,
      stream_options: { include_usage: true },
      seed: index,
    }),
  });
  const headersMs = performance.now() - start;
  const times: number[] = [];
  let text = "";
  const decoder = new TextDecoder();
  if (response.status === 200 && response.body !== null)
    for await (const chunk of response.body) {
      const part = decoder.decode(chunk, { stream: true });
      if (part.includes('"text":"')) times.push(performance.now());
      text += part;
    }
  else await response.text();
  const [first = start] = times;
  return {
    status: response.status,
    ms: response.status === 200 ? performance.now() - start : headersMs,
    firstTokenMs: first - start,
    gapsMs: times.slice(1).map((time, i) => time - (times[i] ?? time)),
    nTokens: Number(/"completion_tokens":(\d+)/.exec(text)?.[1] ?? 0),
  };
}

function quantile(values: readonly number[], share: number): number | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null;
}
