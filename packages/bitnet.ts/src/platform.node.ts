/** The Node side of platform.ts: local files, the native backend where a binary fits, memory limits, BITNET_ variables. */
import { existsSync } from "node:fs";
import { totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import {
  type Backend,
  BitNetError,
  createReferenceBackend,
  type FileRoot,
  type Tokenizer,
  urlRoot,
} from "@bitnet.ts/core";
import { type EncodingModel, openFileSource, openPath, PromptEncoder } from "@bitnet.ts/core/node";
import type { GrammarCompiler } from "@bitnet.ts/grammar";
import { notInstalled, portableReports, verdictOn } from "./backend-report.ts";
import {
  type ChosenBackend,
  checkBackendName,
  chooseBackend,
  messageOf,
  onlyBackend,
} from "./choose-backend.ts";
import { parseEndpoint } from "./hub/hub-place.ts";
import { hubEndpoint, isHubLocation, pull } from "./hub/index.ts";
import type {
  BackendReport,
  BackendRequest,
  GrammarRequest,
  LocationRequest,
  ReportOptions,
} from "./types.ts";

export { openFileSource };

/** The small model that comes with the package, relative to this file in dist/ as in src/; last in a source checkout. */
const embeddedPlaces = ["../models/tiny.gguf", "../../../models/tiny.gguf"];

/** @throws BitNetError FILE_NOT_FOUND. */
export function embeddedModelPath(): string {
  const paths = embeddedPlaces.map((place) => fileURLToPath(new URL(place, import.meta.url)));
  const found = paths.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new BitNetError(
    "FILE_NOT_FOUND",
    `the embedded model is missing (looked for ${paths.join(" and ")}); name another model`,
  );
}

/** Options that only make sense elsewhere. */
export const foreignOptions = ["worker", "wasmUrl", "cache"] as const;

/** Opens a URL, a local path, or a model of a hub (`hf:owner/name` or its page), which is brought into the cache first. */
export async function openLocation(
  location: string,
  { signal, hub, onNotice, onDownload }: LocationRequest,
): Promise<FileRoot> {
  if (location === "tiny" && !existsSync(location)) return openPath(embeddedModelPath());
  const aborting = signal ? { signal } : {};
  const endpoint = hub?.endpoint === undefined ? hubEndpoint() : parseEndpoint(hub.endpoint, "hub.endpoint");
  if (isHubLocation(location, endpoint)) {
    const pulled = await pull(location, {
      ...aborting,
      settings: { endpoint },
      ...(hub?.token === undefined ? {} : { token: hub.token }),
      ...(onNotice ? { onNotice } : {}),
      ...(onDownload ? { onProgress: onDownload } : {}),
    });
    return openPath(pulled.path);
  }
  if (/^https?:\/\//.test(location)) return urlRoot(location, aborting);
  return openPath(location.startsWith("file:") ? pathOfUrl(location) : location);
}

/** Encodes long prompts on a thread of their own, from the model's files at `place`. */
export function createPromptEncoder(model: EncodingModel, place: string | null): PromptEncoder | null {
  return new PromptEncoder(model, place);
}

function pathOfUrl(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new BitNetError("INVALID_ARGUMENT", `${url}: expected the URL of a local file`, { cause });
  }
}

/**
 * The backend that was asked for, by option or by BITNET_BACKEND; else the first of native, webgpu (not in software), wasm and (slow) the
 * reference that runs here, with a notice of why those before it do not.
 * @throws BitNetError BACKEND_UNAVAILABLE when a forced backend or instruction set does not exist or cannot run here.
 */
export async function createBackend(request: BackendRequest): Promise<ChosenBackend> {
  const forced = request.name ?? process.env.BITNET_BACKEND ?? "";
  checkBackendName(forced === "" ? undefined : forced);
  if (request.activations === "f32" && forced !== "reference") throw onlyReference();
  if (forced === "reference") return onlyBackend(reference(request.activations));
  const isa = request.isa ?? (process.env.BITNET_ISA || undefined);
  const options = {
    ...(request.threads === undefined ? {} : { threads: request.threads }),
    ...(isa === undefined ? {} : { isa }),
    ...(request.screening === undefined ? {} : { screening: request.screening }),
  };
  if (forced === "webgpu" || (forced === "" && isa?.startsWith("wgsl-")))
    return onlyBackend(webgpuBackend(isa === undefined ? {} : { isa }));
  if (forced === "wasm" || (forced === "" && isa?.startsWith("wasm-")))
    return onlyBackend(wasmBackend(options));
  const native = async () => (await import("@bitnet.ts/native")).createNativeBackend(options);
  if (forced === "native" || isa || process.env.BITNET_NATIVE_PATH) return onlyBackend(native());
  return chooseBackend(
    [
      { name: "native", create: native },
      { name: "webgpu", create: () => webgpuBackend({ allowFallback: false }) },
      { name: "wasm", create: () => wasmBackend(options) },
      { name: "reference", create: async () => reference() },
    ],
    request.onNotice,
  );
}

/** @throws BitNetError BACKEND_UNAVAILABLE, also where the package is not installed. */
async function wasmBackend(options: {
  threads?: number;
  isa?: string;
  screening?: boolean;
}): Promise<Backend> {
  const { createWasmBackend } = await import("@bitnet.ts/wasm").catch((cause) => {
    throw notInstalled("@bitnet.ts/wasm", cause);
  });
  return createWasmBackend(options);
}

/** @throws BitNetError BACKEND_UNAVAILABLE, also where a package is not installed. */
async function webgpuBackend(options: { allowFallback?: boolean; isa?: string }): Promise<Backend> {
  const { createWebGpuBackend } = await import("@bitnet.ts/webgpu").catch((cause) => {
    throw notInstalled("@bitnet.ts/webgpu", cause);
  });
  return createWebGpuBackend(options);
}

function reference(activations: BackendRequest["activations"] = "int8"): Backend {
  return createReferenceBackend({ openFile: openFileSource, activations });
}

function onlyReference(): BitNetError {
  return new BitNetError(
    "INVALID_ARGUMENT",
    'activations: only the reference backend leaves them in f32; ask for it as well (backend "reference")',
  );
}

/** Compiles the forms that answers may have; loaded when the first one is asked for. */
export async function createGrammarCompiler(
  tokenizer: Tokenizer,
  { vocabSize }: GrammarRequest,
): Promise<GrammarCompiler> {
  const { GrammarCompiler } = await import("@bitnet.ts/grammar");
  return new GrammarCompiler(tokenizer, { vocabSize });
}

/** The machine's memory, or the container's limit where that is lower. */
export function availableMemory(): number | null {
  const limit = permitted(() => process.constrainedMemory?.()) ?? 0;
  const total = permitted(totalmem);
  if (total === null) return limit > 0 ? limit : null;
  return limit > 0 && limit < total ? limit : total;
}

/** Null where the runtime may not say, such as Deno without --allow-sys. */
function permitted(ask: () => number | undefined): number | null {
  try {
    return ask() ?? null;
  } catch {
    return null;
  }
}

/** What `doctor` shows: every backend, and every kernel variant with the verdict on it. The options are for browsers. */
export async function backendReport(_options: ReportOptions = {}): Promise<BackendReport[]> {
  return [await nativeReport(), ...(await portableReports())];
}

async function nativeReport(): Promise<BackendReport> {
  try {
    const { availableThreads, nativeStatus } = await import("@bitnet.ts/native");
    const { path, reason, variants, chosen } = nativeStatus();
    return {
      name: "native",
      isAvailable: reason === null,
      detail: reason ?? path ?? "",
      threads: availableThreads(),
      variants: variants.map((variant) => verdictOn(variant, chosen)),
    };
  } catch (error) {
    return { name: "native", isAvailable: false, detail: messageOf(error), threads: 0, variants: [] };
  }
}

export async function measureReadBandwidth(threads?: number): Promise<number | null> {
  try {
    const native = await import("@bitnet.ts/native");
    return await native.measureReadBandwidth(threads === undefined ? {} : { threads });
  } catch (error) {
    if (error instanceof BitNetError && error.code === "BACKEND_UNAVAILABLE") return null;
    throw error;
  }
}
