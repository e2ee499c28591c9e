/**
 * A process of its own that loads a model, gives its first token, processes a prompt, and reports times and memory as one line of JSON.
 * Arguments: model, instruction set, threads, tokens of the prompt after the first token (0: none).
 */
import { RandomBits, randomPrompt } from "@bitnet.ts/cli/measuring";
import type { Isa } from "@bitnet.ts/core";
import { BitNet, type ModelStats } from "bitnet.ts";
import { type ProcessMemory, processMemory } from "../harness/machine.ts";

export interface MemoryStage {
  stats: Pick<ModelStats, "privateBytes" | "mappedBytes" | "kvBytesPerToken">;
  process: ProcessMemory | null;
}

export interface FirstTokenReport {
  /** From the start of the process until the program's first line. */
  startMs: number;
  loadMs: number;
  /** From the end of loading to the first token of a prompt of one token. */
  firstTokenMs: number;
  bytesPerToken: number;
  contextLength: number;
  before: ProcessMemory | null;
  loaded: MemoryStage;
  /** After the first token: what is made when it is first needed is there. */
  begun: MemoryStage;
  used: MemoryStage;
}

const startMs = performance.now();
const [path = "", isa = "", threads = "1", nPrompt = "0"] = process.argv.slice(2);
const before = processMemory();
const startedAt = performance.now();
const model = await BitNet.load(path, { backend: "native", isa: isa as Isa, threads: Number(threads) });
const loadedAt = performance.now();
const loaded = stage();
const askedAt = performance.now();
const greedy = { temperature: 0, repeatPenalty: 1, ignoreEos: true };
await model.generate(randomPrompt(model, 1, new RandomBits(1, 0)), { ...greedy, maxTokens: 1 }).result;
const firstTokenAt = performance.now();
const begun = stage();
if (Number(nPrompt) > 0)
  await model.generate(randomPrompt(model, Number(nPrompt), new RandomBits(1, 1)), {
    ...greedy,
    maxTokens: 1,
  }).result;
const { bytesPerToken, contextLength } = model.info;
const report: FirstTokenReport = {
  ...{ startMs, before, loaded, begun, bytesPerToken, contextLength },
  loadMs: loadedAt - startedAt,
  firstTokenMs: firstTokenAt - askedAt,
  used: stage(),
};
await model.dispose();
console.log(JSON.stringify(report));

function stage(): MemoryStage {
  const { privateBytes, mappedBytes, kvBytesPerToken } = model.stats();
  return { stats: { privateBytes, mappedBytes, kvBytesPerToken }, process: processMemory() };
}
