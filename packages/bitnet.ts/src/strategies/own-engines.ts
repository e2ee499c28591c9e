/** The engines of bitnet.ts as strategies. */
import type { BackendName } from "@bitnet.ts/core";
import { backendReport } from "#platform";
import { BitNet } from "../bitnet.ts";
import { available, type Deployment, type Strategy, type StrategyOptions, unavailable } from "./strategy.ts";

async function deployOwn(
  backend: BackendName,
  { model, threads }: StrategyOptions,
  signal: AbortSignal,
): Promise<Deployment> {
  const options = { backend, signal, onNotice: () => {}, ...(threads === undefined ? {} : { threads }) };
  const loaded = await BitNet.load(model, options);
  return {
    detail: `${loaded.info.isa}, ${loaded.info.threads} threads`,
    async generate({ prompt, maxTokens, signal: ending, onText }) {
      const generation = loaded.generate(prompt, {
        maxTokens,
        temperature: 0,
        repeatPenalty: 1,
        ignoreEos: true,
        signal: ending,
      });
      for await (const _piece of generation) onText();
      return { text: (await generation.result).text, saidTokensPerSecond: null };
    },
    memoryBytes() {
      const { privateBytes, mappedBytes } = loaded.stats();
      return privateBytes + mappedBytes;
    },
    dispose: () => loaded.dispose(),
  };
}

function own(name: BackendName): Strategy {
  return {
    name,
    runs: "model",
    isParallel: true,
    async check() {
      const found = (await backendReport()).find((report) => report.name === name);
      if (found === undefined) return unavailable(`this installation has no backend ${name}`);
      return { isAvailable: found.isAvailable, detail: found.detail };
    },
    deploy: (options, signal) => deployOwn(name, options, signal),
  };
}

export const native = own("native");
export const reference = own("reference");

const wasmPackage = "@bitnet.ts/wasm";

export const wasm: Strategy = {
  ...own("wasm" as BackendName),
  async check() {
    try {
      await import(wasmPackage);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "ERR_MODULE_NOT_FOUND") return unavailable(`${wasmPackage} is not installed`);
      return unavailable(`${wasmPackage} cannot be loaded: ${messageOf(error)}`);
    }
    const isKnown = (await backendReport()).some((report) => String(report.name) === "wasm");
    return isKnown ? available(wasmPackage) : unavailable("this version of bitnet.ts has no backend wasm");
  },
};

export const webgpu = own("webgpu");

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
