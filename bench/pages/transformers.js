/** Transformers.js (ONNX Runtime in WebAssembly) on a page, as bench/harness/browser-model.ts asks for it. */
import { AutoModelForCausalLM, env, Tensor } from "/transformers/transformers.min.js";

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = "/";
env.useBrowserCache = false;
env.useWasmCache = false;

let model;

globalThis.load = async ({ threads }) => {
  const began = performance.now();
  const { wasm } = env.backends.onnx;
  // The build for processors alone: in the others that a browser may choose, operations on quantised tables exist for WebGPU only.
  const build = "/ort/ort-wasm-simd-threaded";
  wasm.wasmPaths = { mjs: `${build}.mjs`, wasm: `${build}.wasm` };
  wasm.numThreads = threads;
  const options = { dtype: "q4", device: "wasm", use_external_data_format: true };
  model = await AutoModelForCausalLM.from_pretrained("models", options);
  return { isa: "onnxruntime", threads: wasm.numThreads, loadMs: performance.now() - began };
};

globalThis.run = async (prompt, nGen) => {
  const shape = [1, prompt.length];
  const ids = new Tensor("int64", BigInt64Array.from(prompt, BigInt), shape);
  const mask = new Tensor("int64", new BigInt64Array(prompt.length).fill(1n), shape);
  const times = [performance.now()];
  // The prompt is told first, then each token.
  let isPrompt = true;
  const streamer = {
    put() {
      if (!isPrompt) times.push(performance.now());
      isPrompt = false;
    },
    end() {},
  };
  await model.generate({
    ...{ inputs: ids, attention_mask: mask, streamer, do_sample: false },
    ...{ max_new_tokens: nGen + 1, min_new_tokens: nGen + 1 },
  });
  const [began, first, last] = [times[0], times[1], times.at(-1)];
  return {
    promptTokensPerSecond: (1000 * prompt.length) / (first - began),
    decodeTokensPerSecond: (1000 * (times.length - 2)) / (last - first),
  };
};
