/**
 * `bitnet serve` under load: clients that ask one after the other, at rising concurrency, and clients that come as they like (Poisson), up to
 * ten times what the server can do. The server runs in a process of its own, the clients in this one. Its queue is short, so that who is let
 * in is served in time and the others go elsewhere at once.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { watchOthers } from "./harness/machine.ts";
import { ensureDummy } from "./harness/models.ts";
import { Peer, peerEntry, peerVersion } from "./harness/peer.ts";
import type { Column, Verdict } from "./harness/result.ts";
import { type BenchContext, runBench } from "./harness/run-bench.ts";
import {
  askServer,
  figuresOf,
  goodFirstTokenMs,
  type Load,
  type LoadFigures,
  measureLoad,
} from "./harness/serve-load.ts";

const nTokens = 32;
/** Requests at once, and those that may wait: what is let in waits for a quarter of an answer at most. */
const parallel = 64;
const maxQueued = 16;
/** Of a level of load, beside the answers that are still to come then. */
const levelSeconds = 20;
/** Of small models, that clients on the same machine leave them something of it. */
const maxArrivals = 2000;
const cli = fileURLToPath(new URL("../../packages/cli/bin/bitnet.js", import.meta.url));

const columns: Column[] = [
  { key: "load", label: "load", unit: "" },
  { key: "answered", label: "answered", unit: "" },
  { key: "refused", label: "refused", unit: "" },
  { key: "refusal99", label: "refusal p99", unit: "ms" },
  { key: "first50", label: "first token p50", unit: "ms" },
  { key: "first95", label: "p95", unit: "ms" },
  { key: "first99", label: "p99", unit: "ms" },
  { key: "gap50", label: "between tokens p50", unit: "ms" },
  { key: "gap95", label: "p95", unit: "ms" },
  { key: "gap99", label: "p99", unit: "ms" },
  { key: "whole99", label: "whole answer p99", unit: "ms" },
  { key: "tokens", label: "all together", unit: "tok/s" },
  { key: "requests", label: "requests per second", unit: "" },
  { key: "good", label: "good per second", unit: "" },
];

await runBench("serve", async (context) => {
  const { options, isa, threads } = context;
  const path = context.model();
  const server = await startServer(path, threads);
  const stopWatching = watchOthers(server.child.pid === undefined ? [] : [server.child.pid]);
  const rows: LoadFigures[] = [];
  const measure = async (load: Partial<Load> & { name: string; nRequests: number }) => {
    const whole = { concurrency: null, rate: 0, seconds: levelSeconds, ...load };
    const figures = await measureLoad((index) => askServer(server.url, index, nTokens), whole);
    rows.push(figures);
    context.say(lineOf(figures));
    return figures;
  };
  try {
    await measure({ name: "warming up", concurrency: 1, nRequests: 1 });
    rows.length = 0;
    const closed = new Map<number, LoadFigures>();
    for (const concurrency of options.isQuick ? [1, 4] : [1, 4, 16, 64]) {
      const nRequests = options.isQuick ? 2 * concurrency : Math.max(4, 2 * concurrency);
      closed.set(concurrency, await measure({ name: `${concurrency} at once`, concurrency, nRequests }));
    }
    const saturation = Math.max(...[...closed.values()].map(({ requests }) => requests));
    let overload: LoadFigures | null = null;
    for (const share of options.isQuick ? [0.5] : [0.5, 0.8, 1.2, 10]) {
      const rate = share * saturation;
      const nRequests = options.isQuick
        ? 8
        : Math.ceil(Math.min(maxArrivals, Math.max(2 * (parallel + maxQueued), levelSeconds * rate)));
      const figures = await measure({ name: `Poisson ${share} ×`, rate, nRequests });
      if (share === 10) overload = figures;
    }
    server.child.kill("SIGTERM");
    if (!options.isQuick && options.model === null && options.shape !== "tiny")
      rows.push(...(await measurePeer(context)));
    return {
      models: [path],
      ...{ isa, threads, disturbance: stopWatching() },
      rows: rows.map((row) => ({ ...row })),
      rooflines: context.rooflines.all,
      columns,
      verdicts: verdictsOf(closed, overload),
      notes: [
        `answers of ${nTokens} tokens to prompts of some 20; good: the first token within ${goodFirstTokenMs} ms`,
        `${parallel} requests at once, ${maxQueued} waiting; clients share ${availableParallelism()} cores with the server`,
      ],
    };
  } finally {
    server.child.kill("SIGTERM");
  }
});

function verdictsOf(closed: ReadonlyMap<number, LoadFigures>, overload: LoadFigures | null): Verdict[] {
  const [one, many, most] = [closed.get(1), closed.get(16), closed.get(64)];
  if (one === undefined || many === undefined || most === undefined || overload === null) return [];
  return [
    {
      what: "tokens a second with 16 clients, to those with one",
      ...{ measured: many.tokens / one.tokens, unit: "×", wanted: 5, bound: "least" },
    },
    {
      what: "p99 of whole answers at ten times the load, to that at saturation",
      ...{ measured: (overload.whole99 ?? 0) / (most.whole99 ?? 1), unit: "×", wanted: 1.5, bound: "most" },
    },
    {
      what: "p99 of refusals at ten times the load",
      ...{ measured: overload.refusal99, unit: "ms", wanted: 20, bound: "most" },
    },
  ];
}

/** The same closed load within node-llama-cpp, which has no server: what its batches could serve at best. */
async function measurePeer(context: BenchContext): Promise<LoadFigures[]> {
  const { options, threads, say } = context;
  if (!existsSync(peerEntry())) {
    say("node-llama-cpp is not installed: the bench peers does that");
    return [];
  }
  const model = ensureDummy({ shape: options.shape, packing: "tq2_0", architecture: "bitnet" });
  const rows: LoadFigures[] = [];
  for (const concurrency of [1, 16]) {
    const peer = await Peer.start({ model, threads, contextSize: 128, sequences: concurrency });
    try {
      const { outcomes, seconds } = await peer.serve({
        ...{ nPrompt: 20, nGen: nTokens, seed: 7, concurrency },
        nRequests: Math.max(3, concurrency),
      });
      const figures = figuresOf(`node-llama-cpp ${peerVersion}, ${concurrency} at once`, outcomes, seconds);
      rows.push(figures);
      say(lineOf(figures));
    } finally {
      await peer.stop();
    }
  }
  return rows;
}

/** What is known so far, should the bench not come to its end. */
function lineOf(figures: LoadFigures): string {
  const ms = (value: number | null) => (value === null ? "–" : value.toFixed(value < 100 ? 1 : 0));
  const { load, answered, refused, refusal99, first50, first99, gap50, gap99, whole99, tokens, requests } =
    figures;
  return [
    `${load}: ${answered} answered, ${refused} refused (p99 ${ms(refusal99)} ms)`,
    `first token ${ms(first50)}/${ms(first99)} ms, between tokens ${ms(gap50)}/${ms(gap99)} ms, whole p99 ${ms(whole99)} ms`,
    `${tokens.toFixed(1)} tok/s, ${requests.toFixed(2)} requests/s`,
  ].join("; ");
}

function startServer(model: string, threads: number): Promise<{ url: string; child: ChildProcess }> {
  const args = ["serve", "--port", "0", "-m", model, "-t", String(threads), "--cache-bytes", "0"];
  args.push("--parallel", String(parallel), "--max-queued", String(maxQueued), "--queue-timeout", "300");
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
