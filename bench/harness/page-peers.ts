/** Other engines in WebAssembly that pages of Chromium are measured with: fetched from npm where the dummy models are, and no dependency of this repository. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { dummyShapes } from "@bitnet.ts/cli/measuring";
import type { BrowserModelOptions } from "./browser-model.ts";
import { installFromNpm, unpackFromNpm } from "./install-from-npm.ts";
import { cacheFolder, ensureDummy } from "./models.ts";
import { ensureOnnxLlama } from "./onnx-llama.ts";
import type { BenchContext } from "./run-bench.ts";

const wllamaVersion = "3.13.0";
const transformersVersion = "4.3.2";
/** What that version of Transformers.js depends on. */
const runtimeVersion = "1.31.0-dev.20260914-8d85527a0";

/** What a page runs, beside the sizes. */
export type PageGiven = Pick<BrowserModelOptions, "model" | "script" | "folders">;

export interface Peer {
  name: string;
  /** Fetches it and makes its model, where they are missing. @param path The model that it is measured beside. */
  prepare(context: BenchContext, path: string, notes: string[]): PageGiven;
}

const wllama: Peer = {
  name: `wllama ${wllamaVersion}`,
  /** llama.cpp opens the architecture `bitnet` only, and these sizes in TQ2_0. */
  prepare({ options, say }) {
    const folder = join(cacheFolder(), `wllama-${wllamaVersion}`);
    const own = join(folder, "node_modules", "@wllama", "wllama");
    const packages = [`@wllama/wllama@${wllamaVersion}`];
    installFromNpm({ folder, packages, entry: join(own, "esm", "index.js") }, say);
    const model = ensureDummy({ shape: options.shape, packing: "tq2_0", architecture: "bitnet" });
    return { model, script: "wllama", folders: { wllama: own } };
  },
};

const transformers: Peer = {
  name: `Transformers.js ${transformersVersion}`,
  prepare({ options, say }, path, notes) {
    const own = join(cacheFolder(), `transformers-${transformersVersion}`);
    const runtime = join(cacheFolder(), `onnxruntime-web-${runtimeVersion}`);
    unpackFromNpm(own, `@huggingface/transformers@${transformersVersion}`, say);
    unpackFromNpm(runtime, `onnxruntime-web@${runtimeVersion}`, say);
    const shape = dummyShapes.find(({ name }) => name === options.shape);
    if (shape === undefined) throw new Error(`no shape ${options.shape}`);
    const { folder, nLayers } = ensureOnnxLlama(shape, statSync(path).size);
    notes.push(
      `Transformers.js: 4-bit weights, ${nLayers} layers of the same widths, which make a file of the same size`,
    );
    const folders = { transformers: join(own, "dist"), ort: join(runtime, "dist"), models: folder };
    return { model: path, script: "transformers", folders };
  },
};

export const peers: readonly Peer[] = [wllama, transformers];
