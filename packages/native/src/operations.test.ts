/** The C++ decoder, compiled with a table that has one operation more. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { encodeProgram, engineRecords, wordsOf } from "@bitnet.ts/core";
import { madeUpProgram, madeUpTable } from "@bitnet.ts/core/conformance";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findCompiler, runCompiler } from "./build/compiler.ts";
import { renderOperationsHeader } from "./build/generate-operations.ts";
import { commonFlags } from "./build/units.ts";

const engine = fileURLToPath(new URL("../engine/", import.meta.url));
const compiler = findCompiler();

const main = `
#include <cstdio>
#include <vector>
#include "program.h"
using namespace bitnet::engine;
template <class T> std::vector<T> readAll(const char* path) {
  std::vector<T> all;
  FILE* file = std::fopen(path, "rb");
  T value;
  while (std::fread(&value, sizeof value, 1, file) == 1) all.push_back(value);
  std::fclose(file);
  return all;
}
int main(int, char** arguments) {
  const auto words = readAll<int32_t>(arguments[1]);
  Program program;
  Failure failure;
  if (!decodeProgram({words.data(), words.size(), nullptr, 0, nullptr, 0}, program, failure)) {
    std::puts(failure.message);
    return 1;
  }
  const Operation& operation = program.operations[0];
  const MixtureOp& op = operation.mixture;
  std::printf("%s xq %d router %d experts", operationSpecs[static_cast<int>(operation.kind)].name, op.xq, op.router);
  for (const int32_t id : op.experts) std::printf(" %d", id);
  std::printf(" parts %d %d of %d x %d nExperts %d nGroups %d share %g fn %d\\n", op.parts[0], op.parts[1], op.parts.n, op.x, op.nExperts,
              op.nGroups, static_cast<double>(op.share), static_cast<int>(op.fn));
}
`;

const bitsOf = (value: number) => new DataView(Float32Array.of(value).buffer).getInt32(0, true);

describe.skipIf(compiler === undefined)("a table with a made-up operation", () => {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-operations-"));
  const program = join(folder, "decode");

  beforeAll(async () => {
    if (compiler === undefined) return;
    const header = join(folder, "made-up.generated.h");
    writeFileSync(header, renderOperationsHeader(madeUpTable));
    const source = join(folder, "main.cc");
    writeFileSync(source, main);
    const units = ["program.cc", "failure.cc", "allocations.cc"].map((name) => join(engine, name));
    const flags = [
      ...commonFlags,
      "-O0",
      "-fsanitize=undefined",
      `-DBITNET_OPERATIONS="${header}"`,
      "-I",
      engine,
    ];
    const outcome = await runCompiler(compiler, [...flags, source, ...units, "-o", program]);
    expect(outcome).toEqual({ ok: true, messages: "" });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** What the decoder prints for the program's encoding, bent by `bend`. */
  function decode(bend: (words: Int32Array) => Int32Array = (words) => words): string {
    const words = bend(encodeProgram(madeUpProgram(), madeUpTable).words);
    const path = join(folder, "words.bin");
    writeFileSync(path, new Uint8Array(words.buffer));
    const { stdout, stderr } = spawnSync(program, [path], { encoding: "utf8" });
    return `${stdout}${stderr}`.trim();
  }

  it("is decoded field by field", () => {
    expect(decode()).toBe(
      "mixture xq 0 router 1 experts 2 3 parts 4 5 of 2 x 6 nExperts 4 nGroups 2 share 0.5 fn 1",
    );
  });

  // Places from the end: 14 words of the operation, then the phase's end.
  it.each<[string, number, number, RegExp]>([
    ["an unknown operation", -15, 99, /there is no such operation/],
    ["a buffer of another class", -14, 6, /wrong field/],
    ["a type that is not allowed", -13, 7, /wrong field/],
    ["an empty list", -12, 0, /wrong field/],
    ["a list beyond the end", -12, 2 ** 30, /wrong field/],
    ["widths that differ", -11, 3, /does not fit its buffers/],
    ["an integer out of range", -5, 1, /wrong field/],
    ["a size that does not fit", -5, 6, /does not fit its buffers/],
    ["sizes that do not divide", -4, 3, /sizes do not divide/],
    ["a real number out of range", -3, bitsOf(2), /wrong field/],
    ["a real number that is none", -3, bitsOf(Number.NaN), /wrong field/],
    ["a choice out of range", -2, 3, /wrong field/],
    ["a phase beyond the operations", -1, 2, /a phase is out of range/],
  ])("refuses %s", (_, place, value, message) => {
    expect(decode((words) => words.with(words.length + place, value))).toMatch(message);
  });

  it("refuses joined operations that do not fit, and some that are missing", () => {
    const join = (words: Int32Array, ...joined: number[]) => {
      const names = Object.keys(engineRecords.programCounts.fields);
      return Int32Array.of(...words.with(names.indexOf("nJoined"), 1), ...joined);
    };
    expect(decode((words) => join(words, 0))).toMatch(/do not fit each other are joined/);
    expect(decode((words) => join(words))).toMatch(/wrong length/);
  });

  it("refuses a buffer that is out of range, by name", () => {
    const { programCounts, programSource, programBuffer } = engineRecords;
    const from = wordsOf(programCounts) + wordsOf(programSource) * madeUpProgram().sources.length;
    const kinds = programBuffer.fields.kind.of.length;
    expect(decode((words) => words.with(from, kinds))).toMatch(`kind ${kinds} is not in 0…${kinds - 1}`);
  });
});
