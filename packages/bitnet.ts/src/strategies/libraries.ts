/**
 * Libraries of the user's project as strategies: Transformers.js, node-llama-cpp and ONNX Runtime. Only what is used of them is described
 * here; they are loaded when they are asked for.
 */
import { BitNetError } from "@bitnet.ts/core";
import { BitNet } from "../bitnet.ts";
import { findModule, loadModule } from "./project-module.ts";
import {
  available,
  type EnvironmentCheck,
  type Strategy,
  type StrategyOptions,
  unavailable,
} from "./strategy.ts";

const folderOf = ({ project = process.cwd() }: StrategyOptions) => project;

function checkModule(name: string, options: StrategyOptions): EnvironmentCheck {
  const found = findModule(name, folderOf(options));
  return found === null
    ? unavailable(`${name} is not installed in this project`)
    : available(`${name} ${found.version}`);
}

function inProcess(before: number): () => number {
  return () => Math.max(0, process.memoryUsage.rss() - before);
}

interface TransformersModule {
  pipeline(
    task: "text-generation",
    model: string,
  ): Promise<{
    (prompt: string, options: object): Promise<{ generated_text: string }[]>;
    dispose?(): Promise<unknown>;
  }>;
}

const transformersName = "@huggingface/transformers";

export const transformers: Strategy = {
  name: "transformers.js",
  runs: "other",
  isParallel: false,
  async check(options) {
    const found = checkModule(transformersName, options);
    return found.isAvailable && options.transformers === undefined
      ? unavailable("no model for it was named")
      : found;
  },
  async deploy(options) {
    const before = process.memoryUsage.rss();
    const { pipeline } = await loadModule<TransformersModule>(transformersName, folderOf(options));
    const generator = await pipeline("text-generation", options.transformers ?? "");
    return {
      detail: options.transformers ?? "",
      async generate({ prompt, maxTokens }) {
        const settings = { max_new_tokens: maxTokens, do_sample: false, return_full_text: false };
        const [answer] = await generator(prompt, settings);
        const text = answer?.generated_text ?? "";
        return { text, saidTokensPerSecond: null };
      },
      memoryBytes: inProcess(before),
      dispose: async () => void (await generator.dispose?.()),
    };
  },
};

interface LlamaSequence {
  clearHistory?(): Promise<void>;
}

interface LlamaModule {
  getLlama(options?: object): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      createContext(options?: object): Promise<{ getSequence(): LlamaSequence }>;
      dispose(): Promise<void>;
    }>;
  }>;
  LlamaCompletion: new (options: {
    contextSequence: LlamaSequence;
  }) => {
    generateCompletion(prompt: string, options: object): Promise<string>;
  };
}

export const nodeLlamaCpp: Strategy = {
  name: "node-llama-cpp",
  runs: "model",
  isParallel: false,
  async check(options) {
    const found = checkModule("node-llama-cpp", options);
    return found.isAvailable && !/\.gguf$/i.test(options.model)
      ? unavailable("node-llama-cpp reads GGUF files only")
      : found;
  },
  async deploy(options) {
    const before = process.memoryUsage.rss();
    const { getLlama, LlamaCompletion } = await loadModule<LlamaModule>("node-llama-cpp", folderOf(options));
    const llama = await getLlama({ gpu: false, build: "never" });
    const model = await llama.loadModel({ modelPath: options.model });
    const context = await model.createContext(
      options.threads === undefined ? {} : { threads: options.threads },
    );
    const contextSequence = context.getSequence();
    const completion = new LlamaCompletion({ contextSequence });
    return {
      detail: "without GPU",
      async generate({ prompt, maxTokens, signal, onText }) {
        await contextSequence.clearHistory?.();
        const settings = { maxTokens, temperature: 0, signal, onTextChunk: onText };
        const text = await completion.generateCompletion(prompt, settings);
        return { text, saidTokensPerSecond: null };
      },
      memoryBytes: inProcess(before),
      dispose: () => model.dispose(),
    };
  },
};

interface OnnxTensor {
  readonly data: ArrayLike<number>;
  readonly dims: readonly number[];
}

interface OnnxModule {
  InferenceSession: {
    create(path: string): Promise<{
      inputNames: readonly string[];
      outputNames: readonly string[];
      run(feeds: Record<string, unknown>): Promise<Record<string, OnnxTensor>>;
      release?(): Promise<void>;
    }>;
  };
  Tensor: new (type: "int64", data: BigInt64Array, dims: readonly number[]) => unknown;
}

export const onnxRuntime: Strategy = {
  name: "onnx runtime",
  runs: "model",
  isParallel: false,
  async check(options) {
    const found = checkModule("onnxruntime-node", options);
    return found.isAvailable && options.onnx === undefined ? unavailable("no ONNX file was named") : found;
  },
  async deploy(options, signal) {
    const before = process.memoryUsage.rss();
    const { InferenceSession, Tensor } = await loadModule<OnnxModule>("onnxruntime-node", folderOf(options));
    const session = await InferenceSession.create(options.onnx ?? "");
    const strange = session.inputNames.find(
      (name) => !["input_ids", "attention_mask", "position_ids"].includes(name),
    );
    if (strange !== undefined)
      throw new BitNetError(
        "MODEL_UNSUPPORTED",
        `${options.onnx}: the input ${strange} is not served here; export the model without a cache of keys and values`,
      );
    // The words are those of the model itself.
    const words = await BitNet.load(options.model, { signal, onNotice: () => {} });
    const { tokenizer } = words;
    const forward = async (ids: readonly number[]): Promise<number> => {
      const tensor = (value: (i: number) => number) =>
        new Tensor(
          "int64",
          BigInt64Array.from(ids, (_, i) => BigInt(value(i))),
          [1, ids.length],
        );
      const all: Record<string, (i: number) => number> = {
        input_ids: (i) => ids[i] ?? 0,
        attention_mask: () => 1,
        position_ids: (i) => i,
      };
      const feeds = Object.fromEntries(
        session.inputNames.map((name) => [name, tensor(all[name] ?? (() => 0))]),
      );
      const logits = (await session.run(feeds))[session.outputNames[0] ?? "logits"];
      if (logits === undefined)
        throw new BitNetError("MODEL_INVALID", `${options.onnx}: it answers no logits`);
      const size = logits.dims.at(-1) ?? 0;
      return largest(logits.data, logits.data.length - size);
    };
    return {
      detail: options.onnx ?? "",
      async generate({ prompt, maxTokens, signal: ending, onText }) {
        const ids = [...tokenizer.encode(prompt, { bos: tokenizer.addBos })];
        const nPrompt = ids.length;
        while (ids.length < nPrompt + maxTokens && !ending.aborted) {
          ids.push(await forward(ids));
          onText();
        }
        const decoder = tokenizer.createDecoder({ continues: true });
        const text = ids.slice(nPrompt).map(decoder.push).join("") + decoder.end();
        return { text, saidTokensPerSecond: null };
      },
      memoryBytes: inProcess(before),
      async dispose() {
        await session.release?.();
        await words.dispose();
      },
    };
  },
};

/** Place of the largest value from `from` on, counted from there. */
function largest(values: ArrayLike<number>, from: number): number {
  let best = from;
  for (let i = from; i < values.length; i++) if ((values[i] ?? 0) > (values[best] ?? 0)) best = i;
  return best - from;
}
