/** The benches: one file of this folder per question. `npm run bench` lists them, `npm run bench -- all` runs them in this order. */

export interface BenchEntry {
  name: string;
  question: string;
  /** How tokens are chosen, as tables say it; "by row": a column does; null: no token is chosen. */
  sampler: string | null;
}

export const benches: readonly BenchEntry[] = [
  {
    name: "kernels",
    question: "How near does each kernel come to the memory and to its own instruction?",
    sampler: null,
  },
  {
    name: "decode-prefill",
    question: "How fast are prompts and generation, by threads and instruction set?",
    sampler: "by row",
  },
  {
    name: "prompt-length",
    question: "What do long prompts cost, and how fast is generation behind them?",
    sampler: "greedy",
  },
  { name: "batch", question: "What do sequences that decode together gain?", sampler: "greedy" },
  { name: "embed", question: "How fast are texts embedded, alone and together?", sampler: null },
  {
    name: "serve",
    question: "What does the server give many clients at once, and what do those wait who are too many?",
    sampler: "temperature 0.7, top-p 0.9; node-llama-cpp greedy",
  },
  {
    name: "head",
    question: "What does screening the head gain, and how many rows does it compute exactly?",
    sampler: "by row",
  },
  { name: "wasm", question: "What of the native speed is left in WebAssembly?", sampler: "greedy" },
  {
    name: "webgpu",
    question: "How near does WebGPU come to what the graphics card's memory gives?",
    sampler: "by row",
  },
  {
    name: "browsers",
    question:
      "How fast is a page in Chromium and Firefox, and how much faster than wllama's and Transformers.js'?",
    sampler: "greedy",
  },
  { name: "load", question: "How long is it from opening the file to the first token?", sampler: "greedy" },
  {
    name: "convert",
    question:
      "How fast does a folder of masters become a GGUF file, beside copying it, and in how much memory?",
    sampler: null,
  },
  { name: "memory", question: "What memory does a model take, empty and in use?", sampler: "greedy" },
  {
    name: "scaling",
    question: "Does the time per token follow the bytes of the model, and what would 100B need?",
    sampler: "greedy",
  },
  {
    name: "train",
    question: "How many tokens a second are trained on, and how much of a step are its bare matrix products?",
    sampler: null,
  },
  {
    name: "peers",
    question: "How much faster is this than node-llama-cpp on the same machine?",
    sampler: "by row",
  },
  {
    name: "bonsai",
    question: "And with models whose scales are for groups, of Ternary Bonsai's sizes?",
    sampler: "greedy",
  },
];
