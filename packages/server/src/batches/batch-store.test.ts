import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { tenantFolder } from "../store/records.ts";
import { runningBatch } from "./batch-record.test.kit.ts";
import { BatchStore } from "./batch-store.ts";

let folder: string;
let store: BatchStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-batch-store-"));
  store = await BatchStore.open(folder, Date.now);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const record = (id: string) => runningBatch(id, "t");
const pathOf = (id: string, ending: string) => join(folder, "batches", tenantFolder("t"), `${id}.${ending}`);

it.each(["", '"t', "7"])(
  "a marker that another request is just writing, %j so far, hides no other batch",
  async (written) => {
    const input = join(folder, "input");
    await writeFile(input, "");
    const [young, whole] = [store.newId(), store.newId()];
    await store.create(record(whole), input);
    await writeFile(join(folder, "active", young), written);
    expect((await store.active()).map(({ id }) => id)).toEqual([whole]);
    expect((await readdir(join(folder, "active"))).sort()).toEqual([young, whole]);
  },
);

it("a batch of a file that is gone by now leaves nothing", async () => {
  await mkdir(join(folder, "batches"), { recursive: true });
  await expect(store.create(record(store.newId()), join(folder, "gone"))).rejects.toMatchObject({
    code: "ENOENT",
  });
  expect(await readdir(join(folder, "active"))).toEqual([]);
  for (const each of await readdir(join(folder, "batches")))
    expect(await readdir(join(folder, "batches", each))).toEqual([]);
});

it.each(["null", "3", "{}", '{"id":1}', JSON.stringify(runningBatch("batch_0", "t"))])(
  "a record that is %s is none",
  async (text) => {
    const id = store.newId();
    await store.save(record(id));
    expect(await store.find("t", id)).toMatchObject({ id });
    await writeFile(pathOf(id, "json"), text);
    expect(await store.find("t", id)).toBeNull();
  },
);

it("names of files that lead elsewhere are none of a record", async () => {
  const id = store.newId();
  await writeFile(join(folder, "x"), "");
  await store.save(record(id));
  await writeFile(pathOf(id, "json"), JSON.stringify({ ...record(id), output_file_id: "../../x" }));
  expect(await store.find("t", id)).toBeNull();
  const journals = { output: "../../x", error: null };
  await writeFile(pathOf(id, "decided"), JSON.stringify({ id, tenant: "t", record: record(id), journals }));
  expect(await store.decided(record(id))).toBeNull();
});

it("an end whose record is damaged is decided again", async () => {
  const id = store.newId();
  await store.save(record(id));
  await writeFile(pathOf(id, "decided"), '{"id":');
  expect(await store.decide(record(id), { output: null, error: null })).toMatchObject({ id });
});

it("a claim that is damaged does not stand in the way of the next", async () => {
  const wanted = (id: string) => ({ id, request: "r" });
  const [first, second, third] = [store.newId(), store.newId(), store.newId()];
  expect(await store.claim("t", "k", wanted(first))).toEqual({ id: first, isSame: true });
  for (const name of await readdir(join(folder, "claims")))
    await writeFile(join(folder, "claims", name), "{");
  expect(await store.claim("t", "k", wanted(second))).toEqual({ id: second, isSame: true });
  expect(await store.claim("t", "k", wanted(third))).toEqual({ id: second, isSame: true });
});
