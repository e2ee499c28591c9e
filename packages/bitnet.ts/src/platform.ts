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
  urlRoot,
} from "@bitnet.ts/core";
import type { GrammarCompiler } from "@bitnet.ts/grammar";
import type { BackendReport, BackendRequest } from "./types.ts";

/** Opens what `BitNet.load` was given as text: a URL. */
export async function openLocation(location: string, signal: AbortSignal | undefined): Promise<FileRoot> {
  if (/^https?:\/\//.test(location)) return urlRoot(location, signal ? { signal } : {});
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${location}: expected an http(s) URL or a Blob; files need Node`,
  );
}

/** For weights that a program names by path; here none does. */
export async function openFileSource(path: string): Promise<ByteSource> {
  throw new BitNetError("FILE_NOT_FOUND", `${path}: files need Node`);
}

/** @throws BitNetError FILE_NOT_FOUND. */
export function embeddedModelPath(): string {
  throw new BitNetError("FILE_NOT_FOUND", "the embedded model is a file; files need Node");
}

export async function createBackend({ name, activations = "int8" }: BackendRequest): Promise<Backend> {
  if (name === "native") throw new BitNetError("BACKEND_UNAVAILABLE", "the native backend needs Node");
  return createReferenceBackend({ activations });
}

/** Compiles the forms that answers may have. */
export async function createGrammarCompiler(
  _tokenizer: Tokenizer,
  _vocabSize: number,
): Promise<GrammarCompiler> {
  throw new BitNetError("BACKEND_UNAVAILABLE", "answers in a form (schema, tools, …) need Node");
}

/** Memory that a model may take in bytes; null where the platform does not say. */
export function availableMemory(): number | null {
  return null;
}

export async function backendReport(): Promise<BackendReport[]> {
  return [{ name: "reference", isAvailable: true, detail: "plain TypeScript", threads: 1, variants: [] }];
}

/** Bytes per second of a bare read; null without native code. */
export async function measureReadBandwidth(_threads?: number): Promise<number | null> {
  return null;
}
