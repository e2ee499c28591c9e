/** The store of keys in a file, and the ring that follows a store. */
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fileKeys, type KeyRecord, type KeyStore } from "./key-store.ts";
import { createKey, KeyRing, revokeKey } from "./keys.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-keys-"));
});
afterEach(() => rm(folder, { recursive: true }));

test("keys that are made and revoked at the same time are all made and revoked", async () => {
  const file = join(folder, "keys.json");
  const made = await Promise.all(
    Array.from({ length: 12 }, (_, i) => createKey(fileKeys(file), { name: `key ${i}`, limits: {} })),
  );
  expect(await fileKeys(file).read()).toHaveLength(12);
  await Promise.all(made.slice(0, 6).map(({ record }) => revokeKey(fileKeys(file), record.id)));
  const names = (await fileKeys(file).read()).map(({ name }) => name).sort();
  expect(names).toEqual(["key 10", "key 11", "key 6", "key 7", "key 8", "key 9"]);
  expect(await readdir(folder)).toEqual(["keys.json"]);
});

test("the lock of a writer that died is taken over", async () => {
  const file = join(folder, "keys.json");
  await writeFile(`${file}.lock`, "");
  await utimes(`${file}.lock`, new Date(0), new Date(0));
  await createKey(fileKeys(file), { name: "Ada", limits: {} });
  expect(await readdir(folder)).toEqual(["keys.json"]);
});

/** A store that can be away, and forget. */
class FakeStore implements KeyStore {
  readonly name = "a store";
  records: KeyRecord[] = [];
  mark = 0;
  isAway = false;
  nStamps = 0;
  async stamp() {
    this.nStamps++;
    return this.isAway ? null : this.mark === 0 ? "" : String(this.mark);
  }
  async read() {
    if (this.isAway) throw new Error("away");
    return [...this.records];
  }
  async add(record: KeyRecord) {
    this.records.push(record);
    this.mark++;
  }
  async remove(id: string) {
    this.records = this.records.filter((record) => record.id !== id);
    this.mark++;
    return true;
  }
  hasForgotten(_before: string, now: string) {
    return now === "";
  }
  async restore(known: readonly KeyRecord[]) {
    this.records = [...known];
    this.mark = 100;
  }
}

test("a ring follows its store within a second, asks it once a second, and knows its keys while it is away", async () => {
  const store = new FakeStore();
  let now = 0;
  const first = await createKey(store, { name: "first", limits: {} });
  const ring = await KeyRing.open(store, () => now);
  const second = await createKey(store, { name: "second", limits: {} });
  const asked = store.nStamps;
  expect([await ring.find(first.key), await ring.find(second.key)]).toEqual([first.record, null]);
  expect(store.nStamps).toBe(asked);
  now += 1000;
  expect(await ring.find(second.key)).toEqual(second.record);
  store.isAway = true;
  await revokeKey(store, first.record.id);
  now += 1000;
  expect(await ring.find(first.key)).toEqual(first.record);
  store.isAway = false;
  now += 1000;
  expect([await ring.find(first.key), await ring.find(second.key)]).toEqual([null, second.record]);
  // Revoking the last key is no loss of memory; an empty store without a mark is.
  store.records = [];
  store.mark = 0;
  now += 1000;
  expect(await ring.find(second.key)).toEqual(second.record);
  expect(store.records).toEqual([second.record]);
  await revokeKey(store, second.record.id);
  now += 1000;
  expect([await ring.find(second.key), ring.size]).toEqual([null, 0]);
});

test("a ring cannot begin without knowing its keys", async () => {
  const store = new FakeStore();
  await createKey(store, { name: "first", limits: {} });
  store.isAway = true;
  await expect(KeyRing.open(store)).rejects.toThrow("away");
});
