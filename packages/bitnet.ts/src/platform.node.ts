/** The Node side of platform.ts: local files, the native backend where a binary fits, memory limits, BITNET_ variables. */
import { existsSync } from "node:fs";
import { totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import {
  type Backend,
  type BackendName,
  BitNetError,
  createReferenceBackend,
  type FileRoot,
  type Tokenizer,
  urlRoot,
} from "@bitnet.ts/core";
import { type EncodingModel, openFileSource, openPath, PromptEncoder } from "@bitnet.ts/core/node";
import type { GrammarCompiler } from "@bitnet.ts/grammar";
import type { AdapterReport } from "@bitnet.ts/webgpu";
import { parseEndpoint } from "./hub/hub-place.ts";
import { hubEndpoint, isHubLocation, pull } from "./hub/index.ts";
import type { BackendReport, BackendRequest, GrammarRequest, LocationRequest } from "./types.ts";

export { openFileSource };

const backendNames: readonly BackendName[] = ["native", "webgpu", "wasm", "reference"];

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
export async function createBackend(request: BackendRequest): Promise<Backend> {
  const forced = request.name ?? process.env.BITNET_BACKEND ?? "";
  if (forced !== "" && !backendNames.some((name) => name === forced)) {
    throw new BitNetError(
      "BACKEND_UNAVAILABLE",
      `backend "${forced}" does not exist; valid names: ${backendNames.join(", ")}`,
    );
  }
  if (request.activations === "f32" && forced !== "reference") throw onlyReference();
  if (forced === "reference") return reference(request.activations);
  const isa = request.isa ?? (process.env.BITNET_ISA || undefined);
  const options = {
    ...(request.threads === undefined ? {} : { threads: request.threads }),
    ...(isa === undefined ? {} : { isa }),
    ...(request.screening === undefined ? {} : { screening: request.screening }),
  };
  if (forced === "webgpu" || (forced === "" && isa?.startsWith("wgsl-")))
    return webgpuBackend(isa === undefined ? {} : { isa });
  if (forced === "wasm" || (forced === "" && isa?.startsWith("wasm-"))) return wasmBackend(options);
  try {
    const { createNativeBackend } = await import("@bitnet.ts/native");
    return await createNativeBackend(options);
  } catch (error) {
    if (forced === "native" || isa || process.env.BITNET_NATIVE_PATH || !isUnavailable(error)) throw error;
    return withoutNative(error, request);
  }
}

/** Whether a backend is not there, rather than given nonsense. */
function isUnavailable(error: unknown): boolean {
  return !(error instanceof BitNetError) || error.code === "BACKEND_UNAVAILABLE";
}

async function withoutNative(
  noNative: unknown,
  { threads, screening, onNotice }: BackendRequest,
): Promise<Backend> {
  let because = `bitnet: no native backend (${messageOf(noNative)})`;
  try {
    const backend = await webgpuBackend({ allowFallback: false });
    onNotice(`${because}; WebGPU serves`);
    return backend;
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    because += `, no WebGPU (${messageOf(error).replace(/^webgpu: /, "")})`;
  }
  try {
    const backend = await wasmBackend({
      ...(threads === undefined ? {} : { threads }),
      ...(screening === undefined ? {} : { screening }),
    });
    onNotice(`${because}; WebAssembly serves`);
    return backend;
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    onNotice(`${because}, no WebAssembly (${messageOf(error)}); the slow reference backend serves`);
    return reference();
  }
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

function notInstalled(name: string, cause: unknown): BitNetError {
  const isMissing = (cause as NodeJS.ErrnoException | undefined)?.code === "ERR_MODULE_NOT_FOUND";
  const reason = isMissing ? `${name} is not installed` : messageOf(cause);
  return new BitNetError("BACKEND_UNAVAILABLE", reason, { cause });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
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

/** What `doctor` shows: every backend, and every kernel variant with the verdict on it. */
export async function backendReport(): Promise<BackendReport[]> {
  const plain = {
    name: "reference",
    isAvailable: true,
    detail: "plain TypeScript",
    threads: 1,
    variants: [],
  } as const;
  return [await nativeReport(), await webgpuReport(), await wasmReport(), plain];
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

async function webgpuReport(): Promise<BackendReport> {
  const none = { name: "webgpu", isAvailable: false, threads: 0, variants: [] } as const;
  try {
    const { webgpuStatus } = await import("@bitnet.ts/webgpu");
    const { reason, adapter } = await webgpuStatus();
    if (adapter === null) return { ...none, detail: reason ?? "no adapter" };
    if (reason !== null) return { ...none, detail: `${reason}; ${describeAdapter(adapter)}` };
    const { hasDot4 } = adapter;
    return {
      name: "webgpu",
      isAvailable: true,
      detail: describeAdapter(adapter),
      threads: 1,
      variants: [
        {
          isa: "wgsl-dot4",
          verdict: hasDot4 ? "chosen" : "rejected",
          reason: hasDot4 ? "" : "the language lacks integer dot products here",
        },
        { isa: "wgsl-plain", verdict: hasDot4 ? "usable" : "chosen", reason: "" },
      ],
    };
  } catch (error) {
    return { ...none, detail: notInstalled("@bitnet.ts/webgpu", error).message };
  }
}

/** Its limits too, which decide what fits and how it is cut up. */
function describeAdapter({ name, isFallback, limits, features }: AdapterReport): string {
  const lacking = ["subgroups", "shader-f16"].filter((feature) => !features.includes(feature));
  const megabytes = (bytes: number) => `${Math.floor(bytes / 2 ** 20)} MiB`;
  return [
    `${name}${isFallback ? " (in software: only when asked for by name)" : ""}`,
    `buffers up to ${megabytes(limits.maxBufferSize)}, bindings up to ${megabytes(limits.maxStorageBufferBindingSize)}, ` +
      `${limits.maxStorageBuffersPerShaderStage} at once, workgroups of up to ${limits.maxComputeInvocationsPerWorkgroup}`,
    ...(lacking.length > 0 ? [`without ${lacking.join(" and ")}`] : []),
  ].join("; ");
}

async function wasmReport(): Promise<BackendReport> {
  try {
    const { wasmStatus } = await import("@bitnet.ts/wasm");
    const { reason, threads, variants, chosen } = await wasmStatus();
    return {
      name: "wasm",
      isAvailable: reason === null,
      detail: reason ?? "WebAssembly",
      threads,
      variants: variants.map((variant) => verdictOn(variant, chosen)),
    };
  } catch (error) {
    const detail = notInstalled("@bitnet.ts/wasm", error).message;
    return { name: "wasm", isAvailable: false, detail, threads: 0, variants: [] };
  }
}

function verdictOn(
  { isa, rejected }: { isa: string; rejected: string | null },
  chosen: string | null,
): BackendReport["variants"][number] {
  const verdict = rejected !== null ? "rejected" : isa === chosen ? "chosen" : "usable";
  return { isa, verdict, reason: rejected ?? "" };
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
