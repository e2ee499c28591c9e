/** Parquet, CSV and gzipped files give the examples of a JSONL file; what is wrong in them is told by its row. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Example } from "./example.ts";
import { openExamples } from "./file-examples.ts";
import { lineFile } from "./line-files.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-lines-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, content: string | Uint8Array) => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

async function examplesOf(path: string): Promise<Example[]> {
  const lines = await lineFile(path, join(folder, "data"), 0);
  try {
    const file = openExamples(lines.path, { name: path, placeOf: lines.placeOf });
    const examples = Array.from({ length: file.count }, (_, i) => file.at(i));
    file.close();
    return examples;
  } finally {
    lines.remove();
  }
}

const rows = [
  { input: "Is it, say, wet?", output: 'Yes: "wet".\nVery.' },
  { input: "é ü 你", output: "  kept  " },
  { input: "three", output: "3" },
];
const jsonl = rows.map((row) => JSON.stringify(row)).join("\n");
const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
const csv = `\uFEFFinput,output\r\n${rows.map(({ input, output }) => `${quoted(input)},${quoted(output)}`).join("\r\n")}\r\n`;
const column = (name: "input" | "output") => ({ name, data: rows.map((row) => row[name]) });
// Two rows lie together, the third apart.
const parquet = new Uint8Array(
  parquetWriteBuffer({ columnData: [column("input"), column("output")] as never, rowGroupSize: 2 }),
);

it.each([
  ["a.parquet", parquet],
  ["a.csv", csv],
  ["a.csv.gz", gzipSync(csv)],
  ["a.jsonl.gz", gzipSync(jsonl)],
])("%s", async (name, content) => {
  const expected = await examplesOf(write("plain.jsonl", jsonl));
  expect(expected).toHaveLength(3);
  expect(await examplesOf(write(name, content))).toEqual(expected);
  expect(readdirSync(join(folder, "data"))).toEqual([]); // what was written for reading is gone
});

it("text that is gzipped keeps its paragraphs", async () => {
  expect(await examplesOf(write("a.txt.gz", gzipSync("one\ntwo\n\nthree\n")))).toEqual([
    { kind: "text", text: "one\ntwo" },
    { kind: "text", text: "three" },
  ]);
});

it.each([
  ["bad.csv", "input,output\na,b\nc\n,e\n", /bad\.csv: 1 records cannot be read: .*bad\.csv:3: .*length/],
  ["bad.csv", 'input,output\na,"b\n', /bad\.csv.*[Qq]uote/],
  ["none.csv", "", /holds no example/],
  [
    "other.csv",
    "input,output\na,b\nc,\n",
    /other\.csv: 1 lines cannot be read: .*other\.csv, row 2: .*as output/,
  ],
  ["other.csv", "question,answer\na,b\n", /other\.csv, row 1: expected messages.*found question, answer/],
  ["bad.parquet", parquet.subarray(9), /bad\.parquet: is no Parquet file/],
  ["bad.jsonl.gz", gzipSync(jsonl).subarray(0, 40), /bad\.jsonl\.gz: cannot be unpacked/],
  ["data.zst", new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 0, 0]), /data\.zst: is no text; data are/],
])("%s is refused", async (name, content, message) => {
  await expect(examplesOf(write(name, content))).rejects.toThrow(message);
  expect(readdirSync(folder).includes("data") ? readdirSync(join(folder, "data")) : []).toEqual([]);
});

it("a bomb is refused before it fills the disk", async () => {
  const bomb = write("bomb.txt.gz", gzipSync(Buffer.alloc(2 ** 24, 0x61)));
  await expect(lineFile(bomb, join(folder, "data"), 0, 2 ** 20)).rejects.toThrow(
    /bomb\.txt\.gz: unpacks to more than \d{7} bytes/,
  );
  expect(readdirSync(join(folder, "data"))).toEqual([]);
});
