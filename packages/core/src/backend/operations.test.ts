import { describe, expect, it } from "vitest";
import { BitNetError } from "../base/errors.ts";
import { madeUpProgram, madeUpTable } from "./conformance/made-up.ts";
import { encodeProgram } from "./encode-program.ts";
import { fitProgram } from "./offers.ts";
import { accessesIn } from "./operation-table.ts";
import { opNames } from "./operations.ts";
import { createReferenceBackend } from "./reference/reference-backend.ts";
import { validateProgram } from "./validate-program.ts";

function messageOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof BitNetError) return `${error.code} ${error.message}`;
    throw error;
  }
  return "accepted";
}

describe("an operation that is only in the table", () => {
  it("is validated", () => {
    expect(messageOf(() => validateProgram(madeUpProgram(), madeUpTable))).toBe("accepted");
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    ["a wrong class", { xq: 6 }, /"x" must be a q8 activation/],
    ["a buffer that does not exist", { router: 99 }, /buffer 99 does not exist/],
    ["a type that is not allowed", { router: 7 }, /router "router32" is f32, expected f16 or bf16/],
    ["lists of different lengths", { parts: [4] }, /2 experts and 1 parts; expected as many of each/],
    ["no list", { parts: 4 }, /parts must be a list of buffers/],
    ["widths that differ in a place of the lists", { experts: [3, 2] }, /"p0" has 8 columns, expected 16/],
    ["an output that is named twice", { experts: [2, 2], parts: [4, 4] }, /an output is named twice/],
    ["a number out of range", { nExperts: 65 }, /nExperts 65 is not an integer in 2…64/],
    ["a fraction for an integer", { nExperts: 2.5 }, /nExperts 2.5 is not an integer/],
    ["a size that an attribute gives", { nExperts: 6 }, /"router" is 4 × 256, expected 6 × 256/],
    ["sizes that do not divide", { nGroups: 3 }, /nExperts 4 is no multiple of nGroups 3/],
    ["an open end of a range", { share: 0 }, /share 0 is not in \(0, 2\)/],
    ["a number that is out of range as f32", { share: 2 - 1e-12 }, /share 1.999999999999 is not in \(0, 2\)/],
    ["no number", { share: Number.NaN }, /share NaN/],
    ["an unknown choice", { fn: "swish" }, /fn "swish" is none of relu2, silu, gelu/],
    ["a field that is missing", { fn: undefined }, /fn undefined is none of/],
  ])("is refused with %s", (_, change, message) => {
    expect(messageOf(() => validateProgram(madeUpProgram(change), madeUpTable))).toMatch(message);
  });

  it("is refused by the table that lacks it", () => {
    expect(messageOf(() => validateProgram(madeUpProgram()))).toMatch(
      /operation 0 \(mixture\): there is no such/,
    );
  });

  it("tells what it reads and writes", () => {
    const [op] = madeUpProgram().ops;
    if (op === undefined) throw new Error("no operation");
    expect(accessesIn(madeUpTable, op)).toEqual({ reads: [0, 1, 2, 3, 6], writes: [4, 5, 6] });
  });

  it("is encoded field by field", () => {
    const { words } = encodeProgram(madeUpProgram(), madeUpTable);
    const number = Object.keys(madeUpTable).indexOf("mixture");
    const half = 0x3f000000;
    const record = [number, 0, 1, 2, 2, 3, 2, 4, 5, 6, 4, 2, half, 1];
    // One phase, which ends behind the operation.
    expect([...words.slice(-record.length - 1)]).toEqual([...record, 1]);
  });

  it("is refused by a backend that lacks it", async () => {
    expect(messageOf(() => fitProgram(madeUpProgram(), "small", opNames))).toBe(
      'MODEL_UNSUPPORTED the small backend has no operation "mixture", which "made-up" needs',
    );
    const load = createReferenceBackend().load(madeUpProgram(), { kvType: "f16", nPages: 1, maxRows: 1 });
    await expect(load).rejects.toThrow(/there is no such operation/);
  });
});
