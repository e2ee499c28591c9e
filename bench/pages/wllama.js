/** llama.cpp in WebAssembly (wllama) on a page, as bench/harness/browser-model.ts asks for it. Its own server's timings are taken. */
import { Wllama } from "/wllama/esm/index.js";

let engine;

globalThis.load = async ({ threads, contextLength }) => {
  const began = performance.now();
  engine = new Wllama({ default: "/wllama/esm/wasm/wllama.wasm" }, { suppressNativeLog: true });
  const blob = await (await fetch("/model.gguf")).blob();
  await engine.loadModel([blob], {
    n_ctx: contextLength,
    n_threads: threads,
    n_gpu_layers: 0,
    n_parallel: 1,
    warmup: false,
  });
  return { isa: "wllama", threads: engine.getNumThreads(), loadMs: performance.now() - began };
};

/** Prompts are texts there: of a letter for each id, which it may read as fewer tokens; rates are of those that it counts. */
globalThis.run = async (ids, nGen) => {
  const prompt = String.fromCharCode(...ids.map((id) => 97 + (id % 26)));
  const { timings } = await engine.createCompletion({
    ...{ prompt, max_tokens: nGen + 1, temperature: 0, ignore_eos: true, cache_prompt: false },
  });
  return {
    promptTokensPerSecond: timings.prompt_per_second,
    decodeTokensPerSecond: timings.predicted_per_second,
  };
};
