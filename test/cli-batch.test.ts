/** `bitnet batch`: from file to file, interrupted and begun again. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { bitnet } from "./cli-process.ts";

let folder: string;
let files: { input: string; output: string; errors: string };
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-batch-"));
  files = {
    input: join(folder, "in.jsonl"),
    output: join(folder, "out.jsonl"),
    errors: join(folder, "out.errors.jsonl"),
  };
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const line = (custom_id: string, body: object = {}) => ({
  custom_id,
  method: "POST",
  url: "/v1/completions",
  body: { prompt: "Hello", max_tokens: 4, temperature: 0, ...body },
});
const write = (lines: readonly object[]) =>
  writeFile(files.input, lines.map((each) => `${JSON.stringify(each)}\n`).join(""));
const run = (...more: string[]) => bitnet(["batch", files.input, "-o", files.output, ...more]);
const read = async (path: string) =>
  (await readFile(path, "utf8"))
    .trimEnd()
    .split("\n")
    .map((text) => JSON.parse(text) as { custom_id: string; response: { status_code: number } });

test("answers every line; refused ones are in the other file", async () => {
  await write([line("a"), line("b", { max_tokens: "many" }), line("c")]);
  const { status, stdout, stderr } = await run("--json");
  expect([status, stderr]).toEqual([1, ""]);
  expect(JSON.parse(stdout)).toMatchObject({
    total: 3,
    completed: 2,
    failed: 1,
    usage: { output_tokens: 8 },
  });
  expect((await read(files.output)).map(({ custom_id }) => custom_id).sort()).toEqual(["a", "c"]);
  expect(await read(files.errors)).toMatchObject([{ custom_id: "b", response: { status_code: 400 } }]);
});

test("goes on where it was: whole lines stay as they are, a torn one is cut off", async () => {
  await write([line("a"), line("b"), line("c")]);
  expect((await run()).status).toBe(0);
  const [first = ""] = (await readFile(files.output, "utf8")).split("\n");
  const kept = first.replace('"prompt_tokens"', '"kept_as_it_was":1,"prompt_tokens"');
  await writeFile(files.output, `${kept}\n{"id":"batch_req_12`);
  expect((await run()).status).toBe(0);
  const text = await readFile(files.output, "utf8");
  expect(text.startsWith(`${kept}\n`)).toBe(true);
  expect((await read(files.output)).map(({ custom_id }) => custom_id).sort()).toEqual(["a", "b", "c"]);
  const before = await readFile(files.output, "utf8");
  expect((await run()).status).toBe(0);
  expect(await readFile(files.output, "utf8")).toBe(before);
  await expect(readFile(files.errors)).rejects.toThrow("ENOENT");
});

test.each(["my notes", "my notes\n", '{"custom_id":"z"}\n', '{"id":"x"'])(
  "a file that is something else (%j) is left alone",
  async (text) => {
    await write([line("a")]);
    await writeFile(files.output, text);
    const { status, stderr } = await run();
    expect([status, stderr]).toEqual([1, expect.stringContaining("no file of answers to this batch")]);
    expect(await readFile(files.output, "utf8")).toBe(text);
  },
);

test("faults of the input are named with their lines, and nothing is written", async () => {
  await write([line("a"), line("a"), { ...line("b"), url: "/v1/chat/completions" }]);
  const { status, stderr } = await run();
  expect(status).toBe(1);
  expect(stderr).toMatch(/line 2: .*custom_id.*line 3: url must be/);
  await expect(readFile(files.output)).rejects.toThrow("ENOENT");
  for (const [output, text] of [
    [files.input, "three files"],
    [join(folder, "no", "out"), "does not exist"],
  ] as const)
    expect((await bitnet(["batch", files.input, "-o", output])).stderr).toContain(text);
  expect((await bitnet(["batch", join(folder, "none"), "-o", files.output])).stderr).toContain(
    "no such file",
  );
});
