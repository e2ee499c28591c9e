/**
 * node-llama-cpp in a process of its own. Arguments: its folder, model, threads, tokens of context, sequences. Then each message asks for one
 * run: a prompt of its own is processed, a text generated behind it, and the two rates are sent back; or for a load, of several at once.
 */
import { pathToFileURL } from "node:url";
import { RandomBits } from "@bitnet.ts/cli/measuring";
import type { Outcome } from "../harness/serve-load.ts";

export interface PeerRequest {
  nPrompt: number;
  nGen: number;
  seed: number;
  run: number;
  /** 0: greedy. */
  temperature: number;
  topP: number;
}

export interface PeerLoad {
  nPrompt: number;
  nGen: number;
  seed: number;
  concurrency: number;
  nRequests: number;
}

export type PeerMessage =
  | { kind: "served"; outcomes: Outcome[]; seconds: number }
  | { kind: "ready"; system: string }
  | { kind: "sample"; promptTokensPerSecond: number; decodeTokensPerSecond: number };

/** As much of its interface as is used. */
interface PeerModule {
  getLlama(options: Record<string, unknown>): Promise<Llama>;
}
interface Llama {
  systemInfo: string;
  loadModel(options: Record<string, unknown>): Promise<PeerModel>;
}
interface PeerModel {
  createContext(options: Record<string, unknown>): Promise<{ getSequence(): Sequence }>;
}
interface Sequence {
  clearHistory(): Promise<void>;
  evaluateWithoutGeneratingNewTokens(tokens: number[]): Promise<void>;
  evaluate(tokens: number[], options: Record<string, unknown>): AsyncIterable<number>;
}

/** Ids of the dummy vocabulary below this are ordinary in every size. */
const ordinaryIds = 31000;

const [folder = "", path = "", threads = "1", contextSize = "256", nSequences = "1"] = process.argv.slice(2);
const { getLlama } = (await import(pathToFileURL(folder).href)) as PeerModule;
// Neither looks for a graphics processor, nor downloads, nor compiles.
const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  progressLogs: false,
  maxThreads: Number(threads),
  logLevel: "error",
});
const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
const context = await model.createContext({
  contextSize: Number(contextSize),
  batchSize: 512,
  threads: Number(threads),
  sequences: Number(nSequences),
});
const sequences = Array.from({ length: Number(nSequences) }, () => context.getSequence());

process.on("message", (request: PeerRequest | PeerLoad) => {
  ("concurrency" in request ? serve(request) : measure(request)).then(send, (error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.on("disconnect", () => process.exit(0));
send({ kind: "ready", system: llama.systemInfo.trim() });

async function measure({ nPrompt, nGen, seed, run, temperature, topP }: PeerRequest): Promise<PeerMessage> {
  const [sequence] = sequences;
  if (sequence === undefined) throw new Error("no sequence");
  const { prompt, last } = promptOf(nPrompt, seed, run);
  await sequence.clearHistory();
  const begun = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(prompt);
  const promptMs = performance.now() - begun;
  let first = 0;
  let nTokens = 0;
  for await (const _ of sequence.evaluate([last], { temperature, topP, topK: 0, minP: 0, seed })) {
    if (nTokens === 0) first = performance.now();
    if (++nTokens > nGen) break;
  }
  const decodeMs = performance.now() - first;
  return {
    kind: "sample",
    promptTokensPerSecond: (1000 * nPrompt) / promptMs,
    decodeTokensPerSecond: (1000 * (nTokens - 1)) / decodeMs,
  };
}

function promptOf(nPrompt: number, seed: number, run: number): { prompt: number[]; last: number } {
  const random = new RandomBits(seed, run);
  const prompt = Array.from({ length: nPrompt + 1 }, () => Math.floor(random.next() * ordinaryIds));
  return { last: prompt.pop() ?? 0, prompt };
}

async function serve({ nPrompt, nGen, seed, nRequests }: PeerLoad): Promise<PeerMessage> {
  const outcomes: Outcome[] = [];
  const begun = performance.now();
  let next = 0;
  const client = async (sequence: Sequence) => {
    while (next < nRequests) outcomes.push(await answer(sequence, promptOf(nPrompt, seed, next++), nGen));
  };
  await Promise.all(sequences.map(client));
  return { kind: "served", outcomes, seconds: (performance.now() - begun) / 1000 };
}

async function answer(
  sequence: Sequence,
  { prompt, last }: { prompt: number[]; last: number },
  nGen: number,
): Promise<Outcome> {
  const start = performance.now();
  await sequence.clearHistory();
  const times: number[] = [];
  for await (const _ of sequence.evaluate([...prompt, last], { temperature: 0 })) {
    times.push(performance.now());
    if (times.length === nGen) break;
  }
  return {
    status: 200,
    ms: performance.now() - start,
    firstTokenMs: (times[0] ?? start) - start,
    gapsMs: times.slice(1).map((time, i) => time - (times[i] ?? time)),
    nTokens: times.length,
  };
}

function send(message: PeerMessage): void {
  process.send?.(message);
}
