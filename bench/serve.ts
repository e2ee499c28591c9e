/**
 * `bitnet serve` under load: clients that ask one after the other, at rising concurrency, and clients that come as they like (Poisson), up to
 * ten times what the server can do. The server runs in a process of its own, the clients in this one.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { watchOthers } from "./harness/machine.ts";
import type { Row } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

interface Load {
  name: string;
  /** Clients that ask again as soon as they have their answer; null: requests come by themselves. */
  concurrency: number | null;
  /** Requests a second, for those. */
  rate: number;
  nRequests: number;
}

interface Outcome {
  status: number;
  /** To the headers of a refusal, or the end of an answer. */
  ms: number;
  firstTokenMs: number;
  gapsMs: readonly number[];
  nTokens: number;
}

const nTokens = 32;
/** An answer counts as good when its first token came in so much time. */
const goodFirstTokenMs = 1000;
const cli = fileURLToPath(new URL("../../packages/cli/bin/bitnet.js", import.meta.url));

await runBench("serve", async (context) => {
  const { options, isa, threads } = context;
  const path = context.model();
  const server = await startServer(path, threads);
  const stopWatching = watchOthers(server.child.pid === undefined ? [] : [server.child.pid]);
  try {
    const concurrencies = options.isQuick ? [1, 4] : [1, 4, 16, 64];
    const rows: Row[] = [];
    let saturation = 0;
    for (const concurrency of concurrencies) {
      const nRequests = options.isQuick ? 2 * concurrency : Math.max(16, 4 * concurrency);
      context.say(`${concurrency} at once`);
      const row = await measure(server.url, {
        name: `${concurrency} at once`,
        concurrency,
        rate: 0,
        nRequests,
      });
      saturation = Math.max(saturation, Number(row.requests));
      rows.push(row);
    }
    for (const share of options.isQuick ? [0.5] : [0.5, 0.8, 1.2, 10]) {
      const rate = share * saturation;
      const nRequests = options.isQuick ? 8 : Math.ceil(Math.min(600, Math.max(32, 10 * rate)));
      context.say(`Poisson, ${share} of saturation`);
      rows.push(
        await measure(server.url, { name: `Poisson ${share} ×`, concurrency: null, rate, nRequests }),
      );
    }
    return {
      models: [path],
      ...{ isa, threads, rows, disturbance: stopWatching() },
      rooflines: context.rooflines.all,
      columns: [
        { key: "load", label: "load", unit: "" },
        { key: "answered", label: "answered", unit: "" },
        { key: "refused", label: "refused", unit: "" },
        { key: "refusal99", label: "refusal p99", unit: "ms" },
        { key: "first50", label: "first token p50", unit: "ms" },
        { key: "first99", label: "p99", unit: "ms" },
        { key: "gap50", label: "between tokens p50", unit: "ms" },
        { key: "gap95", label: "p95", unit: "ms" },
        { key: "gap99", label: "p99", unit: "ms" },
        { key: "tokens", label: "all together", unit: "tok/s" },
        { key: "requests", label: "requests per second", unit: "" },
        { key: "good", label: "good per second", unit: "" },
      ],
      verdicts: [],
      notes: [
        `answers of ${nTokens} tokens to prompts of some 20; good: the first token within ${goodFirstTokenMs} ms`,
        `clients share ${availableParallelism()} cores with the server`,
      ],
    };
  } finally {
    server.child.kill("SIGTERM");
  }
});

function startServer(model: string, threads: number): Promise<{ url: string; child: ChildProcess }> {
  const args = [
    "serve",
    "--port",
    "0",
    "-m",
    model,
    "-t",
    String(threads),
    "--parallel",
    "64",
    "--cache-bytes",
    "0",
  ];
  const child = spawn(process.execPath, [cli, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((resolve, reject) => {
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      const url = /listening on (\S+)\n[\s\S]*ready\n/.exec(output)?.[1];
      if (url !== undefined) resolve({ url, child });
    });
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
}

async function measure(url: string, load: Load): Promise<Row> {
  const start = performance.now();
  const outcomes =
    load.concurrency === null ? await arrive(url, load) : await askInTurn(url, load, load.concurrency);
  const seconds = (performance.now() - start) / 1000;
  const answered = outcomes.filter(({ status }) => status === 200);
  const refused = outcomes.filter(({ status }) => status !== 200);
  const gaps = answered.flatMap(({ gapsMs }) => gapsMs);
  const firsts = answered.map(({ firstTokenMs }) => firstTokenMs);
  return {
    load: load.name,
    answered: answered.length || null,
    refused: refused.length || null,
    refusal99: quantile(
      refused.map(({ ms }) => ms),
      0.99,
    ),
    first50: quantile(firsts, 0.5),
    first99: quantile(firsts, 0.99),
    gap50: quantile(gaps, 0.5),
    gap95: quantile(gaps, 0.95),
    gap99: quantile(gaps, 0.99),
    tokens: answered.reduce((sum, each) => sum + each.nTokens, 0) / seconds,
    requests: answered.length / seconds,
    good: firsts.filter((ms) => ms <= goodFirstTokenMs).length / seconds || null,
  };
}

async function askInTurn(url: string, { nRequests }: Load, concurrency: number): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let next = 0;
  const client = async () => {
    while (next < nRequests) outcomes.push(await ask(url, next++));
  };
  await Promise.all(Array.from({ length: concurrency }, client));
  return outcomes;
}

/** Requests come at random, whatever has become of those before. */
async function arrive(url: string, { nRequests, rate }: Load): Promise<Outcome[]> {
  const running: Promise<Outcome>[] = [];
  let state = 12_345;
  for (let i = 0; i < nRequests; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const waitMs = (-Math.log((state + 1) / 2 ** 32) / rate) * 1000;
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    running.push(ask(url, i));
  }
  return Promise.all(running);
}

async function ask(url: string, index: number): Promise<Outcome> {
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
    ms: performance.now() - start,
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
