/**
 * Checks Steps once, at the border, so that backends may trust every index, shape and position in them; and the numbers they are loaded with.
 */
import { BitNetError } from "../base/errors.ts";
import { type LoadOptions, pageTokens } from "./backend.ts";
import type { Program } from "./program.ts";
import type { DrawWant, HeadRequest, Step } from "./step.ts";

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

const maxInt32 = 2 ** 31 - 1;

/** @throws BitNetError INVALID_ARGUMENT naming the option. */
export function validateLoadOptions({ maxRows, nPages, kvType }: LoadOptions): void {
  const check = (name: string, value: number, least: number) => {
    if (Number.isInteger(value) && value >= least && value <= maxInt32) return;
    throw new BitNetError("INVALID_ARGUMENT", `load: ${name} ${value} is not an integer from ${least}`);
  };
  check("maxRows", maxRows, 1);
  check("nPages", nPages, 0);
  if (kvType !== "f16" && kvType !== "f32") {
    throw new BitNetError("INVALID_ARGUMENT", `load: kvType "${kvType}" is neither "f16" nor "f32"`);
  }
}

/** @throws BitNetError INVALID_ARGUMENT naming the row, page or request. */
export function validateStep(program: Program, options: LoadOptions, step: Step): void {
  const fail = (message: string, row?: number): never => {
    throw new BitNetError("INVALID_ARGUMENT", `step: ${message}`, {
      details: row === undefined ? {} : { row },
    });
  };
  const nRows = step.tokens.length;
  if (nRows < 1 || nRows > options.maxRows) fail(`${nRows} rows, expected 1…${options.maxRows}`);
  if (step.positions.length !== nRows || step.sequences.length !== nRows)
    fail("tokens, positions and sequences differ in length");
  if (step.adapters !== undefined && step.adapters.length !== nRows)
    fail(`adapters holds ${step.adapters.length} values, expected ${nRows}`);
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
    validateHead(program, head, (message) => fail(message, head.row));
  }
  validateActivations(program, step, nRows, fail);
}

function validateRows(program: Program, step: Step, fail: (message: string, row?: number) => never): void {
  const { embeds, usesKv } = traitsOf(program);
  const last = new Map<number, number>();
  for (let row = 0; row < step.tokens.length; row++) {
    const token = step.tokens[row] ?? -1;
    const position = step.positions[row] ?? -1;
    const sequence = step.sequences[row] ?? -1;
    if (embeds && (token < 0 || token >= program.vocabSize))
      fail(`row ${row}: token ${token} is not in 0…${program.vocabSize - 1}`, row);
    if (!usesKv) continue;
    if (position < 0 || position >= program.contextLength)
      fail(`row ${row}: position ${position} is not in 0…${program.contextLength - 1}`, row);
    const table =
      step.pageTables[sequence] ?? fail(`row ${row}: sequence ${sequence} has no page table`, row);
    if (position >= table.length * pageTokens)
      fail(
        `row ${row}: position ${position} is beyond the ${table.length} pages of sequence ${sequence}`,
        row,
      );
    if (position <= (last.get(sequence) ?? -1))
      fail(`row ${row}: positions of sequence ${sequence} do not ascend`, row);
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
  if (want.kind === "winner") {
    const temperature = Math.fround(want.temperature);
    if (!(temperature > 0 && Number.isFinite(temperature)))
      fail(`${where}: temperature ${want.temperature} is not a positive f32`);
    for (const part of ["seed", "choice", "index"] as const)
      if (!(want[part] >= 0 && want[part] < 2 ** 32 && Number.isInteger(want[part])))
        fail(`${where}: ${part} ${want[part]} is not an unsigned 32-bit integer`);
  }
  if (want.kind === "mass") {
    const temperature = Math.fround(want.temperature);
    if (!(temperature >= 2 ** -126 && Number.isFinite(temperature)))
      fail(`${where}: temperature ${want.temperature} is not a positive normal f32`);
    if (!(want.share > 0 && want.share <= 1)) fail(`${where}: share ${want.share} is not in (0, 1]`);
  }
  if (want.kind === "state" && (head.apart || head.allow || head.logSumExp))
    fail(`${where}: nothing about logits can be asked beside the state`);
  if (want.kind === "draw") validateDraw(want, head, program.vocabSize, (what) => fail(`${where}: ${what}`));
  if (head.apart) {
    if (head.apart.some((id) => id < 0 || id >= program.vocabSize))
      fail(`${where}: an apart id is out of range`);
    if (new Set(head.apart).size !== head.apart.length) fail(`${where}: apart ids repeat`);
  }
  if (head.allow && head.allow.length !== Math.ceil(program.vocabSize / 32))
    fail(`${where}: allow holds ${head.allow.length} words, expected ${Math.ceil(program.vocabSize / 32)}`);
}

function validateDraw(
  want: DrawWant,
  { apart }: HeadRequest,
  vocabSize: number,
  fail: (message: string) => never,
): void {
  const check = (name: string, value: number, isValid: boolean) => {
    if (!isValid) fail(`${name} ${value} is out of range`);
  };
  const temperature = Math.fround(want.temperature);
  check("temperature", want.temperature, temperature >= 0 && Number.isFinite(temperature));
  for (const name of ["seed", "choice", "index"] as const)
    check(name, want[name], Number.isInteger(want[name]) && want[name] >= 0 && want[name] < 2 ** 32);
  check("topK", want.topK, Number.isSafeInteger(want.topK) && want.topK >= 0);
  check("nBest", want.nBest, Number.isSafeInteger(want.nBest) && want.nBest >= 0 && want.nBest <= vocabSize);
  for (const name of ["typicalP", "topP"] as const)
    check(name, want[name], want[name] > 0 && want[name] <= 1);
  check("minP", want.minP, want.minP >= 0 && want.minP <= 1);
  const { repeat, frequency, presence } = want.penalties;
  check("repeat penalty", repeat, Number.isFinite(Math.fround(repeat)) && Math.fround(repeat) > 0);
  check("frequency penalty", frequency, Number.isFinite(Math.fround(frequency)));
  check("presence penalty", presence, Number.isFinite(Math.fround(presence)));
  const n = apart?.length ?? 0;
  check("number of counts", want.counts.length, want.counts.length === n);
  check("number of biases", want.biases.length, want.biases.length === n);
  want.counts.forEach((count) => {
    check("count", count, count >= 0 && count < 2 ** 24);
  });
  want.biases.forEach((bias) => {
    check("bias", bias, bias < Number.POSITIVE_INFINITY);
  });
  want.leaving?.forEach((id) => {
    check("leaving id", id, id >= -1 && id < vocabSize);
  });
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
