import { appendFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { customIdOf } from "./batch-lines.ts";
import { Journal } from "./journal.ts";

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-journal-"));
  path = join(folder, "out.jsonl");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (fence: string | null = null) => Journal.open(path, { idOf: customIdOf, fence });
const line = (id: string) => JSON.stringify({ custom_id: id, text: "é✓\n" });
const text = () => readFile(path, "utf8");

it("writes each id once, whatever is written at the same time", async () => {
  const journal = await open();
  await Promise.all(["a", "b", "a", "c", "b"].map((id) => journal.append(id, line(id))));
  await journal.close();
  expect(await text()).toBe(`${line("a")}\n${line("b")}\n${line("c")}\n`);
  expect(journal.bytes).toBe(Buffer.byteLength(await text()));
});

it("cut off at every byte, it keeps the whole lines and goes on", async () => {
  const whole = Buffer.from(`${line("a")}\n${line("b")}\n`);
  const first = Buffer.byteLength(`${line("a")}\n`);
  for (let length = 0; length <= whole.length; length++) {
    await writeFile(path, whole.subarray(0, length));
    const journal = await open();
    const expected = length < first ? [] : length < whole.length ? ["a"] : ["a", "b"];
    expect([length, ...journal.ids]).toEqual([length, ...expected]);
    for (const id of ["a", "b"]) await journal.append(id, line(id));
    await journal.close();
    expect(await text()).toBe(whole.toString());
  }
});

it("stops at a line that is none, or comes twice", async () => {
  for (const bad of ["\0\0\0\0", '{"custom_id":5}', line("a")]) {
    await writeFile(path, `${line("a")}\n${bad}\n${line("z")}\n`);
    const journal = await open();
    expect([...journal.ids]).toEqual(["a"]);
    await journal.close();
    expect(await text()).toBe(`${line("a")}\n`);
  }
});

it("goes on in a copy where a former holder may still write", async () => {
  const former = await open();
  await former.append("a", line("a"));
  await appendFile(path, '{"custom_id":"torn');
  const journal = await open(`${path}.second`);
  expect([...journal.ids]).toEqual(["a"]);
  await former.append("b", line("b"));
  await journal.append("b", line("b"));
  await journal.append("c", line("c"));
  await former.append("c", line("c"));
  await Promise.all([former.close(), journal.close()]);
  expect(await text()).toBe(`${line("a")}\n${line("b")}\n${line("c")}\n`);
  // The copy stays under its own name when somebody else goes on in a copy of it.
  await (await open(`${path}.third`)).close();
  expect(await readFile(`${path}.second`, "utf8")).toBe(await text());
});

it("a line longer than a read is one line", async () => {
  const long = JSON.stringify({ custom_id: "long", text: "x".repeat(3 << 20) });
  await writeFile(path, `${line("a")}\n${long}\n${line("b")}\n`);
  const journal = await open();
  expect([...journal.ids]).toEqual(["a", "long", "b"]);
  await journal.close();
});

// Found by test/simulation-batch.test.ts: both had opened the file by its name.
it("two that fence the same file at the same time never write into one", async () => {
  for (let round = 0; round < 20; round++) {
    const shared = join(folder, `fenced-${round}.jsonl`);
    const journals = await Promise.all(
      ["a", "b"].map((name) => Journal.open(shared, { idOf: (line) => line, fence: `${shared}.${name}` })),
    );
    await Promise.all(journals.map((journal) => journal.append("a", "a")));
    await Promise.all(journals.map((journal) => journal.close()));
    expect(await readFile(shared, "utf8")).toBe("a\n");
  }
});

it("a file of zeros without end is no journal, and is not read to its end", async () => {
  const before = 2 ** 40; // a hole: nothing of it lies on the disk
  await writeFile(path, "");
  await truncate(path, before);
  const named = Journal.open(path, { idOf: customIdOf, begins: '{"custom_id"' });
  await expect(named).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  expect((await stat(path)).size).toBe(before);
  const journal = await open();
  await journal.append("a", line("a"));
  await journal.close();
  expect(await text()).toBe(`${line("a")}\n`);
});
