import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { BatchRecord } from "./batch-record.ts";
import { BatchStore } from "./batch-store.ts";

let folder: string;
let store: BatchStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "bitnet-batch-store-"));
  store = await BatchStore.open(folder, Date.now);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const record = (id: string) => ({ id, tenant: "t" }) as BatchRecord;

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
