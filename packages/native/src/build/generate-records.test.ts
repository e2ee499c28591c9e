import { describe, expect, it } from "vitest";
import { renderRecordsHeader } from "./generate-records.ts";

const record = (fields: Record<string, { type: string; [key: string]: unknown }>) =>
  renderRecordsHeader({ made: { does: "made up", fields } });

describe("a record as a C++ struct", () => {
  it("has a member and a range for each field, in its order", () => {
    const text = record({
      n: { type: "integer", least: 1, most: 7 },
      kind: { type: "choice", enumeration: "Kind", of: ["plain", "odd"] },
      seed: { type: "unsigned" },
      isLast: { type: "flag" },
    });
    expect(text).toContain("enum class Kind : int32_t { Plain, Odd };");
    expect(text).toMatch(
      /struct Made \{\n {2}int32_t n;\n {2}Kind kind;\n {2}uint32_t seed;\n {2}int32_t isLast;/,
    );
    expect(text).toMatch(/\{"n", 0, 1, 7\},\n {6}\{"kind", 1, 0, 1\},\n {6}\{"isLast", 3, 0, 1\},/);
    expect(text).toContain("static_assert(wordsOf<Made> == 4);");
  });

  it("takes whole pairs of words where it holds a double", () => {
    const text = record({ low: { type: "double" }, last: { type: "float" } });
    expect(text).toContain("int32_t unused;");
    expect(text).toContain("static_assert(wordsOf<Made> == 4);");
  });

  it("holds no double at an odd word", () => {
    expect(() => record({ n: { type: "flag" }, low: { type: "double" } })).toThrow(/even word/);
  });
});
