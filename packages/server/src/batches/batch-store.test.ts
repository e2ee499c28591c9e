import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { tenantFolder } from "../store/records.ts";
import { runningBatch } from "./batch-record.test.kit.ts";
import type { BatchRecord } from "./batch-record.ts";
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

const day = 24 * 3600 * 1000;
const claims = () => join(folder, "claims");
const wanted = (id = store.newId()) => ({ id, request: "{}" });

it("an idempotency key stands for the first request, whoever comes at the same time", async () => {
  const [first, ...others] = await Promise.all(
    Array.from({ length: 8 }, () => store.claim("t", "key", wanted())),
  );
  expect(new Set(others.map(({ id }) => id))).toEqual(new Set([first?.id]));
  expect((await store.claim("t", "key", { id: store.newId(), request: "other" })).isSame).toBe(false);
  expect(await readdir(claims())).toHaveLength(1);
});

it.each(["", "{", "null", '{"id":1}', "[]"])(
  "a claim that a loss of power has left as %j counts for nothing",
  async (left) => {
    await store.claim("t", "key", wanted());
    const [name = ""] = await readdir(claims());
    await writeFile(join(claims(), name), left);
    const again = await Promise.all([wanted(), wanted()].map((each) => store.claim("t", "key", each)));
    expect(again[0]?.id).toBe(again[1]?.id);
    expect(again.every(({ isSame }) => isSame)).toBe(true);
    expect(await readdir(claims())).toEqual([name]);
  },
);

it("a claim that has run out is taken by one of those who find it", async () => {
  const old = await store.claim("t", "key", wanted());
  const [name = ""] = await readdir(claims());
  await utimes(join(claims(), name), new Date(), new Date(Date.now() - 2 * day));
  const again = await Promise.all(Array.from({ length: 8 }, () => store.claim("t", "key", wanted())));
  expect(new Set(again.map(({ id }) => id)).size).toBe(1);
  expect(again[0]?.id).not.toBe(old.id);
});

it("a batch that ends while it is cancelled is given back as it ended, and nothing is left of the wish", async () => {
  const input = join(folder, "input");
  await writeFile(input, "");
  const open: BatchRecord = { ...record(store.newId()), status: "in_progress" };
  await store.create(open, input);
  expect((await store.requestCancel(open)).status).toBe("in_progress");
  const end = await store.decide({ ...open, status: "completed" }, { output: null, error: null });
  if (end !== null) await store.end(end);
  expect((await store.requestCancel(open)).status).toBe("completed");
  expect(await store.isCancelRequested(open)).toBe(false);
});

it("the input of a batch that is just being made is not swept away, however long ago it was uploaded", async () => {
  const input = join(folder, "input");
  await writeFile(input, "");
  await utimes(input, new Date(0), new Date(0));
  const young = record(store.newId());
  await store.create(young, input);
  // As it is before the marker is there.
  await rm(join(folder, "active", young.id));
  await store.sweep();
  expect(await readdir(join(store.inputPath(young), ".."))).toContain(`${young.id}.input`);
});
