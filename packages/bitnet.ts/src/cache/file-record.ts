/** What is noted beside a kept file: what it is, how much of it is there, and the state of its hash, so that a download goes on. */
import { type SavedState, SHA256 } from "@stablelib/sha256";

export interface FileRecord {
  /** What `BitNet.load` takes for the model that the file belongs to. */
  model: string;
  /** Path in the repository, or the last part of an address. */
  file: string;
  /** Bytes of the whole file. */
  size: number;
  /** ETag or Last-Modified of an address; null for files of a hub, whose names are their hashes. */
  validator: string | null;
  /** Bytes that are there, from the beginning. */
  written: number;
  isComplete: boolean;
  /** Of the bytes that are there; null when it is complete. */
  hash: HashState | null;
  /** Milliseconds since 1970 when it was last loaded. */
  usedAt: number;
}

interface HashState {
  state: readonly number[];
  buffer: readonly number[];
  bufferLength: number;
  bytesHashed: number;
}

export function saveHash(hash: SHA256): HashState {
  const { state, buffer, bufferLength, bytesHashed } = hash.saveState();
  return { state: Array.from(state), buffer: Array.from(buffer ?? []), bufferLength, bytesHashed };
}

export function resumeHash(saved: HashState | null): SHA256 {
  const hash = new SHA256();
  if (saved === null) return hash;
  const { state, buffer, bufferLength, bytesHashed } = saved;
  const restored: SavedState = {
    state: Int32Array.from(state),
    buffer: buffer.length === 0 ? undefined : Uint8Array.from(buffer),
    bufferLength,
    bytesHashed,
  };
  return hash.restoreState(restored);
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Null for what is no record. */
export function parseRecord(text: string): FileRecord | null {
  let value: Partial<FileRecord> | null;
  try {
    value = JSON.parse(text) as Partial<FileRecord> | null;
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { model, file, size, validator, written, isComplete, hash, usedAt } = value;
  const areTexts = typeof model === "string" && typeof file === "string";
  const areSizes = isCount(size) && isCount(written) && written <= size && isCount(usedAt);
  const isValidator = validator === null || typeof validator === "string";
  if (!areTexts || !areSizes || !isValidator || typeof isComplete !== "boolean") return null;
  if (isComplete) return { model, file, size, validator, written, isComplete, hash: null, usedAt };
  return isHashState(hash, written)
    ? { model, file, size, validator, written, isComplete, hash, usedAt }
    : null;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isHashState(value: unknown, written: number): value is HashState {
  const { state, buffer, bufferLength, bytesHashed } = (value ?? {}) as Partial<HashState>;
  return (
    Array.isArray(state) &&
    state.length === 8 &&
    Array.isArray(buffer) &&
    (buffer.length === 0 ? bufferLength === 0 : buffer.length === 128 && isCount(bufferLength)) &&
    bytesHashed === written
  );
}
