import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type FileRecord, FileStore } from "./file-store.ts";

let folder: string;
let store: FileStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-file-store-"));
  store = await FileStore.open(folder, Date.now);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function made(content: string): Promise<FileRecord> {
  const facts = { filename: "a", purpose: "batch", created_at: 1, expires_at: null } as const;
  const record = { id: store.newId(), tenant: "t", bytes: content.length, ...facts };
  await writeFile(store.spoolPath(record.id), content);
  await store.adopt(record);
  return record;
}

it("who reads a file that is deleted meanwhile reads it to its end; who comes later finds none", async () => {
  const record = await made("whole");
  const reading = await store.read(record);
  await store.remove(record);
  expect(reading && (await text(reading))).toBe("whole");
  expect(await store.read(record)).toBeNull();
});

it("of many who delete a file one does, and its bytes are given back once", async () => {
  const [record] = [await made("four"), await made("sixsix")];
  const removed = await Promise.all(Array.from({ length: 5 }, () => store.remove(record as FileRecord)));
  expect(removed.filter((isRemoved) => isRemoved)).toHaveLength(1);
  expect(store.storedBytes).toBe(6);
});

it("a file of a batch that has been made and deleted before, by another server, is not made again", async () => {
  const record = await made("four");
  const journal = join(folder, "journal");
  await writeFile(journal, "four");
  const { bytes, ...facts } = record;
  await store.take(facts, journal);
  expect(store.storedBytes).toBe(bytes);
  await rm(journal);
  await store.remove(record);
  await store.take(facts, journal);
  expect(await store.find("t", record.id)).toBeNull();
});
