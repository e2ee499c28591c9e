/**
 * Opens the tensors of a Hugging Face checkpoint: `model.safetensors`, or the shards that
 * `model.safetensors.index.json` lists. The index and the shards must agree, but for
 * tensors that the index leaves out.
 */
import type { ByteSource } from "../../base/byte-source.ts";
import { BitNetError } from "../../base/errors.ts";
import { createPause } from "../../base/event-loop.ts";
import { isPlainFileName } from "../file-root.ts";
import { readTextFile } from "../json-file.ts";
import { JsonReader } from "../json-reader.ts";
import type { TensorInfo } from "../tensor.ts";
import { readSafetensors } from "./read-safetensors.ts";

interface Safetensors {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  close(): Promise<void>;
}

const singleName = "model.safetensors";
const indexName = "model.safetensors.index.json";
const maxShards = 4096;

/**
 * Opens all tensors of a folder; `open` gives a file of it or null. Shards without an index are found where the folder's `names` are known.
 * @throws BitNetError FILE_NOT_FOUND when there is neither a single file nor an index, or a shard is missing;
 * FORMAT_INVALID, FORMAT_TRUNCATED, IO_FAILED.
 */
export async function openSafetensors(
  open: (fileName: string) => Promise<ByteSource | null>,
  signal?: AbortSignal,
  names: readonly string[] = [],
): Promise<Safetensors> {
  const single = await open(singleName);
  if (single !== null) return closingOnFailure([single], async () => readSafetensors(single, signal));
  const index = await open(indexName);
  const shards = index === null ? shardsAmong(names) : [];
  if (shards.length > 0) return openShards(shards, open, signal);
  if (index === null) {
    throw new BitNetError(
      "FILE_NOT_FOUND",
      `expected ${singleName} or ${indexName} beside config.json; other weight files, such as pytorch_model.bin, are not read; transformers' save_pretrained writes the model anew as safetensors`,
    );
  }
  const shardOf = await readIndex(index, signal);
  const opened: ByteSource[] = [];
  return closingOnFailure(opened, async () => {
    const tensors = new Map<string, TensorInfo>();
    for (const file of new Set(shardOf.values())) {
      const shard = await open(file);
      if (shard === null) {
        throw new BitNetError(
          "FILE_NOT_FOUND",
          `${index.name} lists "${file}", which is missing; download all shards`,
        );
      }
      opened.push(shard);
      for (const [name, tensor] of await readSafetensors(shard, signal)) {
        // What an index leaves out is there all the same.
        const listed = shardOf.get(name) ?? file;
        if (listed !== file || tensors.has(name)) disagree(index, name, file, shardOf.get(name));
        tensors.set(name, tensor);
      }
    }
    const missing = [...shardOf].find(([name]) => !tensors.has(name));
    if (missing !== undefined) disagree(index, missing[0], undefined, missing[1]);
    return tensors;
  });
}

/** All parts of a sharded model by their names, which tell how many there are; none where some are missing. */
function shardsAmong(names: readonly string[]): string[] {
  const shards = names.filter((name) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(name)).sort();
  const count = Number(shards[0]?.slice(-17, -12));
  return shards.length === count &&
    shards.every((name) => name.slice(-17, -12) === shards[0]?.slice(-17, -12))
    ? shards
    : [];
}

async function openShards(
  shards: readonly string[],
  open: (fileName: string) => Promise<ByteSource | null>,
  signal: AbortSignal | undefined,
): Promise<Safetensors> {
  const opened: ByteSource[] = [];
  return closingOnFailure(opened, async () => {
    const tensors = new Map<string, TensorInfo>();
    for (const file of shards) {
      const shard = await open(file);
      if (shard === null) throw new BitNetError("FILE_NOT_FOUND", `${file}: the shard has gone`);
      opened.push(shard);
      for (const [name, tensor] of await readSafetensors(shard, signal)) {
        if (tensors.has(name))
          throw new BitNetError("FORMAT_INVALID", `${file}: tensor "${name}" is in another shard, too`);
        tensors.set(name, tensor);
      }
    }
    return tensors;
  });
}

async function closingOnFailure(
  sources: ByteSource[],
  read: () => Promise<ReadonlyMap<string, TensorInfo>>,
): Promise<Safetensors> {
  const close = async () => {
    for (const source of sources) await source.close();
  };
  try {
    return { tensors: await read(), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Tensor name → shard. */
async function readIndex(index: ByteSource, signal: AbortSignal | undefined): Promise<Map<string, string>> {
  try {
    return await parseIndex(await readTextFile(index, { signal }), index.name, createPause(signal));
  } finally {
    await index.close();
  }
}

async function parseIndex(
  text: string,
  label: string,
  pause: () => Promise<void>,
): Promise<Map<string, string>> {
  const reader = new JsonReader(text, label);
  const shardOf = new Map<string, string>();
  const shards = new Set<string>();
  await reader.object(pause, async (key) => {
    if (key !== "weight_map") return reader.skip(pause);
    await reader.object(pause, (name) => {
      const file = reader.string();
      if (!isPlainFileName(file))
        reader.fail(`expected the name of a file in the same folder, found ${JSON.stringify(file)}`);
      shardOf.set(name, file);
      shards.add(file);
      if (shards.size > maxShards) reader.fail(`more than ${maxShards} shards`);
    });
  });
  reader.end();
  if (shardOf.size === 0) reader.fail("lists no tensors (weight_map)");
  return shardOf;
}

function disagree(
  index: ByteSource,
  name: string,
  found: string | undefined,
  expected: string | undefined,
): never {
  const where = (file: string | undefined) => (file === undefined ? "nowhere" : `in "${file}"`);
  throw new BitNetError(
    "FORMAT_INVALID",
    `${index.name}: tensor "${name}" is listed ${where(expected)}, but found ${where(found)}`,
  );
}
