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
  urlRoot,
} from "@bitnet.ts/core";
import { openFileSource, openPath } from "@bitnet.ts/core/node";
import { parseEndpoint } from "./hub/hub-place.ts";
import { hubSettings, isHubLocation, pull } from "./hub/index.ts";
import type { BackendReport, BackendRequest, LocationRequest } from "./types.ts";

const backendNames: readonly BackendName[] = ["native", "reference"];

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
  const endpoint =
    hub?.endpoint === undefined
      ? (await hubSettings()).endpoint
      : parseEndpoint(hub.endpoint, "hub.endpoint");
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

function pathOfUrl(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new BitNetError("INVALID_ARGUMENT", `${url}: expected the URL of a local file`, { cause });
  }
}

/**
 * The backend that was asked for, by option or by BITNET_BACKEND, else native, else (with a notice) the reference.
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
  if (forced === "reference") return reference();
  const isa = request.isa ?? process.env.BITNET_ISA;
  try {
    const { createNativeBackend } = await import("@bitnet.ts/native");
    return await createNativeBackend({
      ...(request.threads === undefined ? {} : { threads: request.threads }),
      ...(isa === undefined || isa === "" ? {} : { isa }),
    });
  } catch (error) {
    const isMissing = !(error instanceof BitNetError) || error.code === "BACKEND_UNAVAILABLE";
    if (forced === "native" || isa || process.env.BITNET_NATIVE_PATH || !isMissing) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    request.onNotice(`bitnet: no native backend (${reason}); the slow reference backend serves`);
    return reference();
  }
}

function reference(): Backend {
  return createReferenceBackend({ openFile: openFileSource });
}

/** The machine's memory, or the container's limit where that is lower. */
export function availableMemory(): number | null {
  const limit = process.constrainedMemory?.() ?? 0;
  const total = systemMemory();
  if (total === null) return limit > 0 ? limit : null;
  return limit > 0 && limit < total ? limit : total;
}

/** Null where the runtime may not say, such as Deno without --allow-sys. */
function systemMemory(): number | null {
  try {
    return totalmem();
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
  try {
    const { availableThreads, nativeStatus } = await import("@bitnet.ts/native");
    const { path, reason, variants, chosen } = nativeStatus();
    const native: BackendReport = {
      name: "native",
      isAvailable: reason === null,
      detail: reason ?? path ?? "",
      threads: availableThreads(),
      variants: variants.map(({ isa, rejected }) => ({
        isa,
        verdict: rejected !== null ? "rejected" : isa === chosen ? "chosen" : "usable",
        reason: rejected ?? "",
      })),
    };
    return [native, plain];
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return [{ name: "native", isAvailable: false, detail, threads: 0, variants: [] }, plain];
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
