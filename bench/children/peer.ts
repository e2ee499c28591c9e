/**
 * node-llama-cpp in a process of its own. Arguments: its folder, model, threads, tokens of context. Then each message asks for one run: a
 * prompt of its own is processed, a text generated behind it, and the two rates are sent back.
 */
import { pathToFileURL } from "node:url";
import { RandomBits } from "@bitnet.ts/cli/measuring";

export interface PeerRequest {
  nPrompt: number;
  nGen: number;
  seed: number;
  run: number;
  /** 0: greedy. */
  temperature: number;
  topP: number;
}

export type PeerMessage =
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

const [folder = "", path = "", threads = "1", contextSize = "256"] = process.argv.slice(2);
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
});
const sequence = context.getSequence();

process.on("message", (request: PeerRequest) => {
  measure(request).then(send, (error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.on("disconnect", () => process.exit(0));
send({ kind: "ready", system: llama.systemInfo.trim() });

async function measure({ nPrompt, nGen, seed, run, temperature, topP }: PeerRequest): Promise<PeerMessage> {
  const random = new RandomBits(seed, run);
  const prompt = Array.from({ length: nPrompt + 1 }, () => Math.floor(random.next() * ordinaryIds));
  const last = prompt.pop() ?? 0;
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

function send(message: PeerMessage): void {
  process.send?.(message);
}
