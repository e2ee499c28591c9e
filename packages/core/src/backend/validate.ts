/**
 * Checks Programs and Steps once, at the border, so that backends may trust every index, shape and position in them.
 */
import { BitNetError } from "../base/errors.ts";
import { denseByteLength } from "../packing/dense.ts";
import type { Scale } from "../packing/packing.ts";
import { type LoadOptions, pageTokens } from "./backend.ts";
import { accesses, type BufferDecl, type BufferId, type Op, type Program } from "./program.ts";
import type { HeadRequest, Step } from "./step.ts";

/** Widest input of a ternary matrix: code 3 × −128 over so many columns still fits int32 with room for the row sum. */
const maxTernaryCols = 2 ** 22;
const maxElements = 2 ** 40;

function invalidProgram(program: Program, message: string): BitNetError {
  return new BitNetError("MODEL_INVALID", `program "${program.name}": ${message}`);
}

/** @throws BitNetError MODEL_INVALID naming the buffer or operation. */
export function validateProgram(program: Program): void {
  const fail = (message: string): never => {
    throw invalidProgram(program, message);
  };
  if (!Number.isSafeInteger(program.contextLength) || program.contextLength < 1)
    fail(`contextLength ${program.contextLength} must be a positive integer`);
  if (!Number.isSafeInteger(program.vocabSize) || program.vocabSize < 0 || program.vocabSize > 2 ** 31 - 1)
    fail(`vocabSize ${program.vocabSize} is out of range`);
  program.buffers.forEach((buffer) => {
    validateBuffer(program, buffer);
  });
  program.ops.forEach((op, index) => {
    validateOp(program, op, `operation ${index} (${op.op})`);
  });
}

function validateBuffer(program: Program, buffer: BufferDecl): void {
  const fail = (message: string): never => {
    throw invalidProgram(program, `buffer "${buffer.name}": ${message}`);
  };
  const positive = (value: number, what: string, limit = 2 ** 31 - 1) => {
    if (!Number.isSafeInteger(value) || value < 1 || value > limit) fail(`${what} ${value} is out of range`);
  };
  if (buffer.class === "activation") {
    positive(buffer.cols, "cols");
    return;
  }
  if (buffer.class === "kv") {
    positive(buffer.nKvHeads, "nKvHeads", 65536);
    positive(buffer.headDim, "headDim", 65536);
    if (buffer.headDim % 2 !== 0) fail(`headDim ${buffer.headDim} must be even`);
    return;
  }
  const { tensor } = buffer;
  positive(tensor.rows, "rows");
  positive(tensor.cols, "cols", tensor.kind === "ternary" ? maxTernaryCols : 2 ** 31 - 1);
  if (tensor.rows * tensor.cols > maxElements) fail(`${tensor.rows} × ${tensor.cols} elements are too many`);
  const source = program.sources[tensor.source] ?? fail(`source ${tensor.source} does not exist`);
  const size = source.kind === "file" ? source.size : source.bytes.byteLength;
  const needed =
    tensor.kind === "ternary"
      ? tensor.rows * Math.ceil(tensor.cols / 128) * 32
      : denseByteLength(tensor.type, tensor.rows * tensor.cols);
  if (!Number.isSafeInteger(tensor.offset) || tensor.offset < 0 || tensor.offset + needed > size)
    fail(`bytes ${tensor.offset}…${tensor.offset + needed} leave a source of ${size} bytes`);
  if (tensor.kind === "ternary") validateScale(tensor, fail);
}

function validateScale(
  { scale, rows, cols }: { scale: Scale; rows: number; cols: number },
  fail: (message: string) => never,
): void {
  if (scale.kind === "tensor") {
    if (!Number.isFinite(scale.value)) fail(`scale ${scale.value} is not finite`);
    return;
  }
  if (scale.kind === "group" && (scale.size % 128 !== 0 || scale.size < 128 || cols % scale.size !== 0))
    fail(`groups of ${scale.size} do not divide ${cols} columns into multiples of 128`);
  const expected = scale.kind === "row" ? rows : rows * (cols / scale.size);
  if (scale.values.length !== expected) fail(`expected ${expected} scales, found ${scale.values.length}`);
  if (!scale.values.every((value) => Number.isFinite(value))) fail("a scale is not finite");
}

function validateOp(program: Program, op: Op, where: string): void {
  const fail = (message: string): never => {
    throw invalidProgram(program, `${where}: ${message}`);
  };
  const find = (id: BufferId): BufferDecl => program.buffers[id] ?? fail(`buffer ${id} does not exist`);
  const f32 = (id: BufferId, cols?: number): number => {
    const buffer = find(id);
    if (buffer.class !== "activation" || buffer.type !== "f32")
      return fail(`"${buffer.name}" must be an f32 activation`);
    if (cols !== undefined && buffer.cols !== cols)
      fail(`"${buffer.name}" has ${buffer.cols} columns, expected ${cols}`);
    return buffer.cols;
  };
  const q8 = (id: BufferId, cols?: number): number => {
    const buffer = find(id);
    if (buffer.class !== "activation" || buffer.type !== "q8")
      return fail(`"${buffer.name}" must be a q8 activation`);
    if (cols !== undefined && buffer.cols !== cols)
      fail(`"${buffer.name}" has ${buffer.cols} columns, expected ${cols}`);
    return buffer.cols;
  };
  const weight = (
    id: BufferId,
    kind: "ternary" | "dense",
    rows: number | undefined,
    cols: number | undefined,
  ) => {
    const buffer = find(id);
    if (buffer.class !== "weight" || buffer.tensor.kind !== kind)
      return fail(`"${buffer.name}" must be a ${kind} weight`);
    const { tensor } = buffer;
    if ((rows !== undefined && tensor.rows !== rows) || (cols !== undefined && tensor.cols !== cols))
      fail(
        `"${buffer.name}" is ${tensor.rows} × ${tensor.cols}, expected ${rows ?? "any"} × ${cols ?? "any"}`,
      );
    return tensor;
  };
  const kv = (id: BufferId) => {
    const buffer = find(id);
    return buffer.class === "kv" ? buffer : fail(`"${buffer.name}" must be a kv buffer`);
  };
  const eps = (value: number) => {
    if (!(value >= 0 && value < 1)) fail(`eps ${value} is out of range`);
  };
  const { reads, writes } = accesses(op);
  for (const id of [...reads, ...writes]) find(id);
  switch (op.op) {
    case "embed": {
      weight(op.table, "dense", program.vocabSize, f32(op.out));
      return;
    }
    case "rmsNormQuant": {
      const cols = f32(op.x);
      weight(op.weight, "dense", 1, cols);
      q8(op.out, cols);
      eps(op.eps);
      return;
    }
    case "bitLinear": {
      const cols = q8(op.x);
      if (op.weights.length === 0 || op.weights.length !== op.outs.length)
        fail(`${op.weights.length} weights and ${op.outs.length} outputs`);
      if (new Set(op.outs).size !== op.outs.length) fail("an output is named twice");
      op.weights.forEach((id, i) => {
        f32(op.outs[i] ?? -1, weight(id, "ternary", undefined, cols).rows);
      });
      return;
    }
    case "ropeKv": {
      const cache = kv(op.kv);
      f32(op.q, op.nHeads * cache.headDim);
      f32(op.k, cache.nKvHeads * cache.headDim);
      f32(op.v, cache.nKvHeads * cache.headDim);
      const table = weight(op.table, "dense", program.contextLength, cache.headDim);
      if (table.kind === "dense" && table.type !== "f32") fail("the RoPE table must be f32");
      if (new Set([op.q, op.k, op.v]).size !== 3) fail("q, k and v must be three buffers");
      return;
    }
    case "attention": {
      const cache = kv(op.kv);
      if (op.nHeads < 1 || op.nHeads % cache.nKvHeads !== 0)
        fail(`${op.nHeads} heads cannot share ${cache.nKvHeads} KV heads`);
      f32(op.q, op.nHeads * cache.headDim);
      f32(op.out, op.nHeads * cache.headDim);
      if (op.q === op.out) fail("q and out must differ");
      if (!(op.scale > 0 && Number.isFinite(op.scale))) fail(`scale ${op.scale} must be positive`);
      return;
    }
    case "gatedActivation": {
      const cols = f32(op.gate);
      f32(op.up, cols);
      f32(op.out, cols);
      return;
    }
    case "residual":
      f32(op.y, f32(op.x));
      return;
    case "head":
      weight(op.table, "dense", program.vocabSize, weight(op.weight, "dense", 1, f32(op.x)).cols);
      eps(op.eps);
      return;
  }
}

/** What of a program decides which parts of a step count. */
interface StepTraits {
  embeds: boolean;
  usesKv: boolean;
  hasHead: boolean;
}

/** Looked up once for each program: a step of one row has no time to walk through hundreds of operations. */
const traitsByProgram = new WeakMap<Program, StepTraits>();

function traitsOf(program: Program): StepTraits {
  const known = traitsByProgram.get(program);
  if (known !== undefined) return known;
  const traits = {
    embeds: program.ops.some((op) => op.op === "embed"),
    usesKv: program.buffers.some((buffer) => buffer.class === "kv"),
    hasHead: program.ops.some((op) => op.op === "head"),
  };
  traitsByProgram.set(program, traits);
  return traits;
}

/** @throws BitNetError INVALID_ARGUMENT naming the row, page or request. */
export function validateStep(program: Program, options: LoadOptions, step: Step): void {
  const fail = (message: string): never => {
    throw new BitNetError("INVALID_ARGUMENT", `step: ${message}`);
  };
  const nRows = step.tokens.length;
  if (nRows < 1 || nRows > options.maxRows) fail(`${nRows} rows, expected 1…${options.maxRows}`);
  if (step.positions.length !== nRows || step.sequences.length !== nRows)
    fail("tokens, positions and sequences differ in length");
  validateRows(program, step, fail);
  step.pageTables.forEach((table, s) => {
    for (const page of table)
      if (page < 0 || page >= options.nPages)
        fail(`page ${page} of sequence ${s} is not in 0…${options.nPages - 1}`);
  });
  const copies = step.pageCopies;
  if (copies && (copies.length % 2 !== 0 || copies.some((page) => page < 0 || page >= options.nPages)))
    fail("pageCopies must be pairs of pages");
  if (step.heads.length > 0 && !traitsOf(program).hasHead) fail("heads are asked of a program without one");
  const seen = new Set<number>();
  for (const head of step.heads) {
    if (!(head.row >= 0 && head.row < nRows) || seen.has(head.row))
      fail(`head row ${head.row} is out of range or repeated`);
    seen.add(head.row);
    validateHead(program, head, fail);
  }
  validateActivations(program, step, nRows, fail);
}

function validateRows(program: Program, step: Step, fail: (message: string) => never): void {
  const { embeds, usesKv } = traitsOf(program);
  const last = new Map<number, number>();
  for (let row = 0; row < step.tokens.length; row++) {
    const token = step.tokens[row] ?? -1;
    const position = step.positions[row] ?? -1;
    const sequence = step.sequences[row] ?? -1;
    if (embeds && (token < 0 || token >= program.vocabSize))
      fail(`row ${row}: token ${token} is not in 0…${program.vocabSize - 1}`);
    if (!usesKv) continue;
    if (position < 0 || position >= program.contextLength)
      fail(`row ${row}: position ${position} is not in 0…${program.contextLength - 1}`);
    const table = step.pageTables[sequence] ?? fail(`row ${row}: sequence ${sequence} has no page table`);
    if (position >= table.length * pageTokens)
      fail(`row ${row}: position ${position} is beyond the ${table.length} pages of sequence ${sequence}`);
    if (position <= (last.get(sequence) ?? -1))
      fail(`row ${row}: positions of sequence ${sequence} do not ascend`);
    last.set(sequence, position);
  }
}

function validateHead(program: Program, head: HeadRequest, fail: (message: string) => never): void {
  const where = `head of row ${head.row}`;
  const { want } = head;
  if (want.kind === "top" && !(Number.isInteger(want.k) && want.k >= 1))
    fail(`${where}: k ${want.k} must be at least 1`);
  if (want.kind === "above" && !(want.margin >= 0))
    fail(`${where}: margin ${want.margin} must not be negative`);
  if (want.kind === "winner" && !(want.temperature > 0 && Number.isFinite(want.temperature)))
    fail(`${where}: temperature ${want.temperature} must be positive`);
  if (want.kind === "mass") {
    const temperature = Math.fround(want.temperature);
    if (!(temperature >= 2 ** -126 && Number.isFinite(temperature)))
      fail(`${where}: temperature ${want.temperature} is not a positive normal f32`);
    if (!(want.share > 0 && want.share <= 1)) fail(`${where}: share ${want.share} is not in (0, 1]`);
  }
  if (head.apart) {
    if (head.apart.some((id) => id < 0 || id >= program.vocabSize))
      fail(`${where}: an apart id is out of range`);
    if (new Set(head.apart).size !== head.apart.length) fail(`${where}: apart ids repeat`);
  }
  if (head.allow && head.allow.length !== Math.ceil(program.vocabSize / 32))
    fail(`${where}: allow holds ${head.allow.length} words, expected ${Math.ceil(program.vocabSize / 32)}`);
}

function validateActivations(
  program: Program,
  step: Step,
  nRows: number,
  fail: (message: string) => never,
): void {
  for (const { buffer, values } of step.inputs ?? []) {
    const decl = program.buffers[buffer];
    if (decl?.class !== "activation" || decl.type !== "f32")
      fail(`input buffer ${buffer} is not an f32 activation`);
    else if (values.length !== nRows * decl.cols)
      fail(`input "${decl.name}" holds ${values.length} values, expected ${nRows} × ${decl.cols}`);
  }
  for (const buffer of step.outputs ?? [])
    if (program.buffers[buffer]?.class !== "activation") fail(`output buffer ${buffer} is not an activation`);
}
