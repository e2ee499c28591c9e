import { describe, expect, test } from "vitest";
import { bytesSource } from "../base/byte-source.ts";
import { readJsonFile, readTextFile } from "./json-file.ts";
import { JsonReader } from "./json-reader.ts";
import { countingTurns, errorOf } from "./raw-bytes.test.fixture.ts";

const noPause = async () => {};

async function check(text: string): Promise<void> {
  const reader = new JsonReader(text, "x.json");
  await reader.skip(noPause);
  reader.end();
}

const valid = [
  "0",
  "-0",
  "1.5e-3",
  "1E+2",
  "true",
  " [ ] ",
  "{}",
  '{"a":{"b":[1,2,{"c":null}]}, "d" :"\\u00e9\\n\\"\\\\"}',
  '"\u2028 é \\/"',
  "[[],[[]],{}]",
  '\t{"":false}\r\n',
];
const invalid = [
  "",
  " ",
  "01",
  "1.",
  ".5",
  "+1",
  "1e",
  "-",
  "nul",
  "True",
  "[1,]",
  "[,1]",
  "[1 2]",
  "{",
  "[",
  '{"a"}',
  '{"a":}',
  '{"a":1,}',
  "{a:1}",
  "{'a':1}",
  '"abc',
  '"\\x"',
  '"\\u12"',
  '"a\nb"',
  '"\\',
  "[1]]",
  "{} {}",
  "// x",
  "\u00a01",
  "NaN",
  "\ufeff{}",
];

describe("agrees with JSON.parse", () => {
  test.each(valid)("accepts %j", async (text) => {
    JSON.parse(text);
    await check(text);
  });
  test.each(invalid)("refuses %j", async (text) => {
    expect(() => JSON.parse(text)).toThrow();
    expect((await errorOf(() => check(text))).code).toBe("FORMAT_INVALID");
  });
});

test("keys twice in one object are refused, also when spelled differently", async () => {
  const error = await errorOf(() => check('{"a": 1,\n "b": {"ab": 1, "a\\u0062": 2}}'));
  expect(error.message).toBe('x.json: line 2, column 17: the key "ab" comes twice in one object');
  await check('{"a": {"a": 1}, "b": {"a": 1}}');
});

test("errors say where", async () => {
  expect((await errorOf(() => check('{\n  "a": tru\n}'))).message).toBe(
    'x.json: line 2, column 8: expected a value, found "tru\\n}"',
  );
  expect((await errorOf(() => check('{"a": 1'))).message).toBe(
    'x.json: line 1, column 8: expected "}", found the end',
  );
});

test("nesting has a limit, so that no text exhausts the stack", async () => {
  await check("[".repeat(128) + "]".repeat(128));
  expect((await errorOf(() => check("[".repeat(1_000_000)))).message).toMatch(/more than 128 deep/);
  expect((await errorOf(() => check('{"a":'.repeat(1_000_000)))).message).toMatch(/more than 128 deep/);
});

test("reads values", async () => {
  const reader = new JsonReader('{"n": 9007199254740991, "s": "a\\tb", "list": [1, 2], "rest": [{}]}', "x");
  const seen: unknown[] = [];
  await reader.object(noPause, async (key) => {
    if (key === "n") seen.push(reader.count());
    else if (key === "s") seen.push(reader.string());
    else if (key === "list") reader.array(() => seen.push(reader.count()));
    else await reader.skip(noPause);
  });
  reader.end();
  expect(seen).toEqual([9007199254740991, "a\tb", 1, 2]);
  for (const text of ["-1", "1.5", "1e400", "9007199254740992", "-0", '"1"', "x"]) {
    expect((await errorOf(() => new JsonReader(text, "x").count())).code).toBe("FORMAT_INVALID");
  }
  expect(new JsonReader("1e3", "x").count()).toBe(1000);
});

describe("files", () => {
  const source = (text: string | Uint8Array) =>
    bytesSource(typeof text === "string" ? new TextEncoder().encode(text) : text, "config.json");

  test("JSON values, with or without a byte-order mark", async () => {
    expect(await readJsonFile(source('{"a": [1]}'))).toEqual({ a: [1] });
    expect(await readJsonFile(source('\ufeff{"a": 1}'))).toEqual({ a: 1 });
    expect(await readTextFile(source("{{ a }}"))).toBe("{{ a }}");
  });

  test("broken JSON names file and position", async () => {
    const error = await errorOf(() => readJsonFile(source('{"a": 1,\n\n  "b": }')));
    expect(error.code).toBe("FORMAT_INVALID");
    expect(error.message).toBe('config.json: line 3, column 8: expected a value, found "}"');
    expect(error.details).toMatchObject({ line: 3, column: 8 });
  });

  test("finding the mistake in a long file lets others have their turn, and obeys the signal", async () => {
    const wrong = source(`[${"1,".repeat(4_000_000)}]`);
    const turns = countingTurns();
    expect((await errorOf(() => readJsonFile(wrong))).message).toMatch(/line 1, column 8000002/);
    expect(turns.stop()).toBeGreaterThan(0);
    const controller = new AbortController();
    setImmediate(() => controller.abort());
    const { code } = await errorOf(() => readJsonFile(wrong, { signal: controller.signal }));
    expect(code).toBe("ABORTED");
  });

  test("bytes that are not UTF-8, and files that are too large, are refused", async () => {
    expect((await errorOf(() => readJsonFile(source(Uint8Array.of(0x7b, 0xff))))).message).toMatch(/UTF-8/);
    const large = { ...source(""), size: 65 * 2 ** 20 };
    expect((await errorOf(() => readJsonFile(large))).message).toMatch(/at most 64 MiB, found 68157440/);
  });
});
