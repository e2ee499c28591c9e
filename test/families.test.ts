/**
 * Random models of all families in random formats, more of them on demand: BITNET_FAMILY_SEEDS=100-400. From every format the same bits, on
 * every machine, and what plain loops in f64 compute; any format becomes any other that can hold it, and keeps every trit and scale.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  BitNetError,
  bindModel,
  compareModels,
  conversionTargets,
  createReferenceBackend,
  describeModel,
  type ModelFiles,
  openModelFiles,
  type Program,
  planConversion,
  readTokenizer,
} from "@bitnet.ts/core";
import { openFileSource, openPath } from "@bitnet.ts/core/node";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { bitsOf, checkpointFiles, type Format, logitsOf, relativeError } from "./checkpoint-run.ts";
import { naiveLogits } from "./naive-bitnet.ts";
import { type Checkpoint, randomCheckpoint, randomTokens } from "./random-checkpoint.ts";
import { randomModel } from "./random-model.ts";
import { seededIntegers } from "./seeded.ts";
import { nativeFor, reference, usableIsas } from "./tiny-model.ts";

const [from = 1, to = from] = (process.env.BITNET_FAMILY_SEEDS ?? "1-4").split("-").map(Number);
const seeds = Array.from({ length: to - from + 1 }, (_, i) => from + i);
const isas = usableIsas();

let folder = "";
let nWritten = 0;
const opened: ModelFiles[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-families-"));
});
afterEach(async () => {
  for (const files of opened.splice(0)) await files.close();
  await rm(folder, { recursive: true });
  await mkdir(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Source {
  name: string;
  files: ModelFiles;
  program: Program;
}

async function open(
  name: string,
  path: string,
  options: Parameters<typeof openModelFiles>[1] = {},
): Promise<Source> {
  const files = await openModelFiles(await openPath(path), options);
  opened.push(files);
  const model = describeModel(files, name);
  readTokenizer(files, model.config);
  return { name, files, program: await bindModel(model, model.config) };
}

async function write(checkpoint: Checkpoint, format: Format): Promise<Source> {
  const place = join(folder, String(nWritten++));
  await mkdir(place);
  for (const [name, bytes] of await checkpointFiles(checkpoint, format))
    await writeFile(join(place, name), bytes);
  return open(format.name, place, format.i2sLayout ? { i2sLayout: format.i2sLayout } : {});
}

/** Null where the target cannot hold the model, which is said by name. */
async function convert(source: Source, target: (typeof conversionTargets)[number]) {
  const path = join(folder, String(nWritten++));
  try {
    const plan = await planConversion(source.files, source.name, target);
    if (plan.kind === "folder") await mkdir(path);
    for (const { name, pieces } of plan.files) {
      const chunks: Uint8Array[] = [];
      for await (const piece of pieces) chunks.push(Uint8Array.from(piece));
      await writeFile(name === null ? `${path}.gguf` : join(path, name), Buffer.concat(chunks));
    }
    const converted = await open(
      `${source.name} as ${target}`,
      plan.kind === "folder" ? path : `${path}.gguf`,
    );
    return { plan, converted };
  } catch (error) {
    if (error instanceof BitNetError && error.code === "FORMAT_UNSUPPORTED") return null;
    throw error;
  }
}

describe.each(seeds.map((seed) => ({ seed, ...randomModel(seed) })))("$name", ({ seed, shape, gguf, hf }) => {
  const checkpoint = randomCheckpoint(shape, seed);
  const tokens = randomTokens(checkpoint, Math.min(shape.context, 8), seed);
  const firstHead = tokens.length - 2;

  const kinds = [
    { kind: "GGUF", formats: gguf },
    { kind: "folders", formats: hf },
  ];
  it.each(kinds.filter(({ formats }) => formats.length > 0))("$kind", async ({ formats }) => {
    const sources: Source[] = [];
    for (const format of formats) sources.push(await write(checkpoint, format));
    const [first] = sources;
    if (first === undefined) return;
    const expected = await logitsOf(reference(), first.program, tokens, firstHead);
    for (const { name, program } of sources.slice(1))
      expect(bitsOf(await logitsOf(reference(), program, tokens, firstHead)), name).toEqual(bitsOf(expected));
    for (const isa of isas) {
      const found = await logitsOf(await nativeFor(isa, 2), first.program, tokens, firstHead);
      expect(bitsOf(found), isa).toEqual(bitsOf(expected));
    }
    // Rounded to int8, what lies between two steps may fall to either side; in floats nothing does.
    const inFloats = createReferenceBackend({ openFile: openFileSource, activations: "f32" });
    const plain = await logitsOf(inFloats, first.program, tokens, firstHead);
    const equations = naiveLogits({ ...checkpoint, shape: { ...shape, keepsFloats: true } }, tokens);
    const rounded = naiveLogits(checkpoint, tokens);
    for (const [i, logits] of plain.entries()) {
      const row = firstHead + i;
      expect(relativeError(logits, equations[row] ?? []), `floats, row ${row}`).toBeLessThan(2e-5);
      expect(relativeError(expected[i] ?? logits, rounded[row] ?? []), `int8, row ${row}`).toBeLessThan(0.3);
    }
    const draw = seededIntegers(seed + 99);
    let source = sources[draw() % sources.length] ?? first;
    for (let step = 0; step < 3; step++) {
      const target = conversionTargets[draw() % conversionTargets.length] ?? "i2_s";
      const made = await convert(source, target);
      if (made === null) continue;
      const { converted, plan } = made;
      const { nReordered, nRoundedScales, changedTables } = await compareModels(source, converted);
      expect({ nRoundedScales, changedTables }, converted.name).toEqual({
        nRoundedScales: 0,
        changedTables: [],
      });
      if (nReordered === 0 && !plan.changesActivations && !plan.roundsRotations) {
        const before = bitsOf(await logitsOf(reference(), source.program, tokens, firstHead));
        const after = bitsOf(await logitsOf(reference(), converted.program, tokens, firstHead));
        expect(after, converted.name).toEqual(before);
      }
      source = converted;
    }
  });
});
