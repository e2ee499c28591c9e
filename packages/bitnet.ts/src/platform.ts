/**
 * What differs between Node and everything else: where models can be opened from, which backends exist, how much memory
 * there is. This file is the portable side; platform.node.ts is chosen by the "node" condition.
 */
import {
  type Backend,
  BitNetError,
  type ByteSource,
  createReferenceBackend,
  type FileRoot,
  type Tokenizer,
} from "@bitnet.ts/core";
import type { GrammarCompiler } from "@bitnet.ts/grammar";
import type { WasmBackendOptions } from "@bitnet.ts/wasm";
import { portableReports } from "./backend-report.ts";
import { openKept } from "./cache/open-kept.ts";
import { type ChosenBackend, chooseBackend, onlyBackend } from "./choose-backend.ts";
import type {
  BackendReport,
  BackendRequest,
  BitNetLoadOptions,
  GrammarRequest,
  LocationRequest,
  ReportOptions,
} from "./types.ts";

export { availableMemory, embeddedModelPath, measureReadBandwidth } from "./platform-facts.ts";

/** Of the backends that can be here, with every kernel variant and the verdict on it. */
export function backendReport({ wasmUrl }: ReportOptions = {}): Promise<BackendReport[]> {
  return portableReports(wasmUrl === undefined ? {} : wasmPlaces(wasmUrl));
}

/** Options that only make sense elsewhere: none. */
export const foreignOptions: readonly (keyof BitNetLoadOptions)[] = [];

/** Opens what `BitNet.load` was given as text: an address, also relative to the page, or a model of a hub. */
export async function openLocation(location: string, request: LocationRequest): Promise<FileRoot> {
  const base = globalThis.location?.href;
  const isName = /^hf:/i.test(location);
  const address =
    isName || location === "tiny" || !URL.canParse(location, base) ? null : new URL(location, base);
  if (isName || /^https?:$/.test(address?.protocol ?? ""))
    return openKept(isName ? location : String(address), request);
  const advice =
    location === "tiny"
      ? "tiny is the file bitnet.ts/models/tiny.gguf, to be given by its address"
      : "paths of files need Node";
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${location}: expected an http(s) URL, hf:owner/name or a Blob; ${advice}`,
  );
}

/** Long prompts are encoded where the model runs: in browsers that is a worker, which holds up no page. */
export function createPromptEncoder(_model: unknown, _place: string | null): null {
  return null;
}

/** For weights that a program names by path; here none does. */
export async function openFileSource(path: string): Promise<ByteSource> {
  throw new BitNetError("FILE_NOT_FOUND", `${path}: files need Node`);
}

/**
 * The backend that was asked for, else the first of WebGPU (not in software), WebAssembly and the slow reference that runs here, with a notice
 * of why those before it do not.
 * @throws BitNetError BACKEND_UNAVAILABLE when a forced backend or instruction set does not exist or cannot run here.
 */
export async function createBackend(request: BackendRequest): Promise<ChosenBackend> {
  const { name, isa, activations = "int8", onNotice } = request;
  if (name === "native") throw new BitNetError("BACKEND_UNAVAILABLE", "the native backend needs Node");
  if (name === "reference") return onlyBackend(createReferenceBackend({ activations }));
  if (activations === "f32") {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      'activations: only the reference backend leaves them in f32; ask for it as well (backend "reference")',
    );
  }
  if (name === "webgpu" || isa?.startsWith("wgsl-"))
    return onlyBackend(webgpuBackend(isa === undefined ? {} : { isa }));
  const wasm = () => wasmBackend(request);
  if (name !== undefined || isa !== undefined) return onlyBackend(wasm());
  return chooseBackend(
    [
      { name: "webgpu", create: () => webgpuBackend({ allowFallback: false }) },
      { name: "wasm", create: wasm },
      { name: "reference", create: async () => createReferenceBackend() },
    ],
    onNotice,
  );
}

async function webgpuBackend(options: { allowFallback?: boolean; isa?: string }): Promise<Backend> {
  const { createWebGpuBackend } = await import("@bitnet.ts/webgpu");
  return createWebGpuBackend(options);
}

/** Compiles the forms that answers may have; its worker is loaded when the first one is asked for. */
export async function createGrammarCompiler(
  tokenizer: Tokenizer,
  { vocabSize, wasmUrl }: GrammarRequest,
): Promise<GrammarCompiler> {
  if (typeof Worker === "undefined")
    throw new BitNetError(
      "BACKEND_UNAVAILABLE",
      "answers in a form (schema, tools, …) need workers, and there are none here",
    );
  const { GrammarCompiler } = await import("@bitnet.ts/grammar");
  return new GrammarCompiler(tokenizer, {
    vocabSize,
    ...(wasmUrl === undefined ? {} : { worker: () => startFrom(wasmUrl, "grammar-worker.js") }),
  });
}

async function wasmBackend({ threads, isa, screening, wasmUrl }: BackendRequest): Promise<Backend> {
  const { createWasmBackend } = await import("@bitnet.ts/wasm");
  return createWasmBackend({
    ...(threads === undefined ? {} : { threads }),
    ...(isa === undefined ? {} : { isa }),
    ...(screening === undefined ? {} : { screening }),
    ...(wasmUrl === undefined ? {} : wasmPlaces(wasmUrl)),
  });
}

/** The files of the folder worker/ of this package, wherever its copy lies. */
function wasmPlaces(folder: string): Pick<WasmBackendOptions, "worker" | "wasmUrl"> {
  return {
    worker: () => startFrom(folder, "wasm-worker.js"),
    wasmUrl: { relaxed: fileIn(folder, "bitnet-relaxed.wasm"), plain: fileIn(folder, "bitnet-plain.wasm") },
  };
}

function startFrom(folder: string, file: string): Worker {
  return new Worker(fileIn(folder, file), { type: "module" });
}

function fileIn(folder: string, file: string): URL {
  return new URL(file, new URL(`${folder.replace(/\/*$/, "")}/`, globalThis.location?.href));
}
