/** The library on a page, as bench/harness/browser-model.ts asks for it. */
import { BitNet } from "bitnet.ts";

let model;

globalThis.load = async ({ threads, contextLength }) => {
  const worker = () => new Worker("/worker/worker.js", { type: "module" });
  model = await BitNet.load("/model.gguf", { worker, cache: false, backend: "wasm", threads, contextLength });
  const { isa, threads: found, loadMs } = model.info;
  return { isa, threads: found, loadMs };
};

globalThis.run = async (prompt, nGen) => {
  const options = { maxTokens: nGen + 1, temperature: 0, repeatPenalty: 1, ignoreEos: true };
  const { promptTokensPerSecond, decodeTokensPerSecond } = (await model.generate(prompt, options).result)
    .timings;
  return { promptTokensPerSecond, decodeTokensPerSecond };
};
