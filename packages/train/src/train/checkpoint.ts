/**
 * Checkpoints: a folder per step with the master weights, both moments and the state of everything else, written under another name
 * and renamed when whole, with a hash that is checked before it is used. The newest ones are kept, and the best one.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  createReadStream,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
} from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import type { MixtureState } from "../data/mixture.ts";
import { writeJson, writeWhole } from "../export/write-file.ts";
import { type SafetensorsInput, safetensorsPieces } from "../export/write-safetensors.ts";
import type { Executor } from "../graph/executor.ts";
import type { Floats } from "../kernels/kernels.ts";
import type { Optimizer } from "./optimizer.ts";

export interface TrainingState {
  step: number;
  /** Predictions made so far. */
  tokens: number;
  data: MixtureState;
  /** Lowest evaluation loss so far, and its step. */
  best: { loss: number; step: number } | null;
  /** Hash of everything that the numbers depend on: a checkpoint of another recipe is refused. */
  recipe: string;
}

const version = 1;
const tensorFile = "tensors.safetensors";
const stateFile = "state.json";
const namePattern = /^step-(\d{8})$/;
/** Node reads no more at once than a 32-bit integer counts. */
const maxReadBytes = 2 ** 30;

export interface CheckpointOptions {
  /** Newest checkpoints that stay; the best stays as well. */
  keep: number;
}

function nameOf(step: number): string {
  return `step-${String(step).padStart(8, "0")}`;
}

/** @throws BitNetError IO_FAILED; what was there before stays. */
export async function saveCheckpoint(
  folder: string,
  executor: Executor,
  optimizer: Optimizer,
  state: TrainingState,
  { keep }: CheckpointOptions,
): Promise<string> {
  const path = join(folder, nameOf(state.step));
  const temporary = join(folder, `.${nameOf(state.step)}.${process.pid}`);
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    const { sha256 } = await writeWhole(
      join(temporary, tensorFile),
      safetensorsPieces(tensorsOf(executor, optimizer)),
    );
    await writeJson(join(temporary, stateFile), { version, ...state, sha256 });
    await rm(path, { recursive: true, force: true });
    await rename(temporary, path);
    await syncFolder(folder);
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true });
    if (cause instanceof BitNetError) throw cause;
    throw new BitNetError(
      "IO_FAILED",
      `${path}: the checkpoint cannot be written (${(cause as Error).message})`,
      { cause },
    );
  }
  const kept = new Set(listCheckpoints(folder).slice(0, keep));
  if (state.best !== null) kept.add(state.best.step);
  for (const step of listCheckpoints(folder))
    if (!kept.has(step)) await rm(join(folder, nameOf(step)), { recursive: true, force: true });
  for (const name of readdirSync(folder))
    if (/^\.step-\d{8}\./.test(name)) await rm(join(folder, name), { recursive: true, force: true });
  return path;
}

/** A rename is on the disk when its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } catch {
    // some file systems cannot
  } finally {
    await handle.close();
  }
}

/** Steps, newest first. */
export function listCheckpoints(folder: string): number[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((name) => Number(namePattern.exec(name)?.[1] ?? Number.NaN))
    .filter((step) => !Number.isNaN(step))
    .sort((a, b) => b - a);
}

/**
 * Restores the newest checkpoint that is whole; `onDamaged` hears of others.
 * @param recipes Hashes of the recipe and of those that it extends.
 * @returns Null when there is none.
 * @throws BitNetError INVALID_ARGUMENT when it belongs to another recipe.
 */
export async function restoreNewest(
  folder: string,
  executor: Executor,
  optimizer: Optimizer,
  recipes: readonly string[],
  onDamaged: (message: string) => void,
): Promise<TrainingState | null> {
  for (const step of listCheckpoints(folder)) {
    const state = await restoreStep(folder, step, executor, optimizer, recipes, onDamaged);
    if (state !== null) return state;
  }
  return null;
}

/** The checkpoint of one step; null when it is missing or damaged. @throws BitNetError as `restoreNewest`. */
export async function restoreStep(
  folder: string,
  step: number,
  executor: Executor,
  optimizer: Optimizer,
  recipes: readonly string[],
  onDamaged: (message: string) => void,
): Promise<TrainingState | null> {
  const path = join(folder, nameOf(step));
  if (!existsSync(path)) return null;
  const state = await readState(path, onDamaged);
  if (state === null) return null;
  if (!recipes.includes(state.recipe)) {
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${path}: was made with another recipe or other data; choose another output folder, or go on with the recipe of before, ` +
        "to which nothing but extensions at its end may be added",
    );
  }
  const tensors = tensorsOf(executor, optimizer);
  if (!haveSize(join(path, tensorFile), tensors)) {
    onDamaged(`${path}: is damaged and left out: its tensors are not those of this run`);
    return null;
  }
  readTensors(join(path, tensorFile), tensors);
  executor.formWeights();
  return state;
}

async function readState(path: string, onDamaged: (message: string) => void): Promise<TrainingState | null> {
  try {
    const {
      version: found,
      sha256,
      ...state
    } = Object(JSON.parse(readFileSync(join(path, stateFile), "utf8"))) as Record<string, unknown>;
    if (typeof found === "number" && found !== version)
      throw new Error(`is of version ${found}, expected ${version}`);
    if (found !== version || !isState(state) || path !== join(dirname(path), nameOf(state.step)))
      throw new Error(`its ${stateFile} is not one that was written here`);
    if ((await hashOf(join(path, tensorFile))) !== sha256)
      throw new Error("its tensors do not have the hash that was noted");
    return state;
  } catch (error) {
    onDamaged(`${path}: is damaged and left out: ${(error as Error).message}`);
    return null;
  }
}

function isState(value: object): value is TrainingState {
  const { step, tokens, data, best, recipe } = value as Record<string, unknown>;
  const isCount = (each: unknown) => Number.isSafeInteger(each) && (each as number) >= 0;
  const { taken, tokens: given } = Object(data) as Record<string, unknown>;
  const areCounts = [taken, given].every((list) => Array.isArray(list) && list.every(Number.isFinite));
  const { loss, step: bestStep } = Object(best) as Record<string, unknown>;
  return (
    [step, tokens].every(isCount) &&
    areCounts &&
    (best === null || (Number.isFinite(loss) && isCount(bestStep))) &&
    typeof recipe === "string"
  );
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
  return hash.digest("hex");
}

function tensorsOf(executor: Executor, optimizer: Optimizer): (SafetensorsInput & { floats: Floats })[] {
  const sets = { weight: executor.parameters, m: optimizer.m, v: optimizer.v };
  return Object.entries(sets).flatMap(([kind, list]) =>
    list.flatMap((floats, id) => {
      const parameter = executor.graph.parameters[id];
      if (parameter === undefined || parameter.isFrozen) return [];
      const data = () => new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
      return [
        { name: `${parameter.name}.${kind}`, type: "F32" as const, shape: parameter.shape, floats, data },
      ];
    }),
  );
}

/** Length of the header, eight bytes, and whatever it says; then the tensors. */
function dataStart(file: number): number {
  const prefix = Buffer.alloc(8);
  readSync(file, prefix, 0, 8, 0);
  return 8 + Number(prefix.readBigUInt64LE());
}

function haveSize(path: string, tensors: readonly { floats: Floats }[]): boolean {
  const file = openSync(path, "r");
  try {
    const nBytes = tensors.reduce((sum, { floats }) => sum + floats.byteLength, 0);
    return fstatSync(file).size === dataStart(file) + nBytes;
  } finally {
    closeSync(file);
  }
}

/** The file has the hash and the size of one that was written here for the same recipe, so that names, shapes and order are known. */
function readTensors(path: string, tensors: readonly { floats: Floats }[]): void {
  const file = openSync(path, "r");
  try {
    let at = dataStart(file);
    for (const { floats } of tensors) {
      const bytes = new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
      for (let done = 0; done < bytes.length; ) {
        const length = Math.min(bytes.length - done, maxReadBytes);
        const nRead = readSync(file, bytes, done, length, at + done);
        if (nRead === 0) throw new BitNetError("IO_FAILED", `${path}: has become shorter while it was read`);
        done += nRead;
      }
      at += floats.byteLength;
    }
  } finally {
    closeSync(file);
  }
}
