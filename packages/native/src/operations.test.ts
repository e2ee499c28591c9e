/** The C++ decoder, compiled with a table that has one operation more. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type EncodedProgram, encodeProgram } from "@bitnet.ts/core";
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
  const auto reals = readAll<double>(arguments[2]);
  const auto sizes = readAll<uint64_t>(arguments[3]);
  Program program;
  Failure failure;
  if (!decodeProgram({words.data(), words.size(), reals.data(), reals.size(), nullptr, 0, sizes.data(), sizes.size()}, program, failure)) {
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
  function decode(bend: (encoded: EncodedProgram) => void = () => {}): string {
    const encoded = encodeProgram(madeUpProgram(), madeUpTable);
    bend(encoded);
    const files = [encoded.words, encoded.reals, BigUint64Array.from(encoded.sizes, BigInt)].map(
      (part, i) => {
        const path = join(folder, `${i}.bin`);
        writeFileSync(path, new Uint8Array(part.buffer));
        return path;
      },
    );
    const { stdout, stderr } = spawnSync(program, files, { encoding: "utf8" });
    return `${stdout}${stderr}`.trim();
  }

  it("is decoded field by field", () => {
    expect(decode()).toBe(
      "mixture xq 0 router 1 experts 2 3 parts 4 5 of 2 x 6 nExperts 4 nGroups 2 share 0.5 fn 1",
    );
  });

  // Places from the end: 13 words of the operation, then the phase's end and the number of joined ones.
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
    ["a choice out of range", -3, 3, /wrong field/],
    ["a phase beyond the operations", -2, 2, /a phase is out of range/],
    ["a join that does not fit", -1, 1, /wrong length|joined/],
  ])("refuses %s", (_, place, value, message) => {
    expect(decode(({ words }) => words.set([value], words.length + place))).toMatch(message);
  });

  it("refuses a real number out of range", () => {
    expect(decode(({ reals }) => reals.set([2], reals.length - 1))).toMatch(/wrong field/);
  });
});
