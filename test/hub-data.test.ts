/** Datasets of a hub by their names: which files are meant, and a fine-tuning and an evaluation that learn from and ask what they hold. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type HubSettings, hubSettings, pullExamples } from "bitnet.ts/hub";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bitnet } from "./cli-process.ts";
import { commit, type HubServer, type ServedFile, startHub } from "./hub-server.ts";

let folder = "";
let hub: HubServer | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-hub-data-"));
});
afterEach(async () => {
  await hub?.close();
  hub = null;
  rmSync(folder, { recursive: true, force: true });
});

async function serve(files: Record<string, string | Uint8Array>): Promise<Partial<HubSettings>> {
  const all = Object.entries(files).map(([path, content]): [string, ServedFile] => [
    path,
    { bytes: Buffer.from(content), isLarge: true },
  ]);
  hub = await startHub(Object.fromEntries(all), "datasets/tests/facts");
  return { ...(await hubSettings({})), endpoint: hub.endpoint, cacheDir: join(folder, "hub") };
}

describe("the files of a dataset", () => {
  const card = { "README.md": "card", "dataset_infos.json": "{}" };
  const bySplit = {
    ...card,
    "data/train-00000-of-00002.parquet": "a",
    "data/train-00001-of-00002.parquet": "b",
    "data/test-00000-of-00001.parquet": "c",
  };
  const sets = { "main/train.jsonl": "a", "main/dev.jsonl": "b", "other/train.jsonl": "c" };
  it.each<[string, Record<string, string>, string[] | RegExp]>([
    ["hf:tests/facts", bySplit, ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]],
    ["hf:tests/facts:test", bySplit, ["test-00000-of-00001.parquet"]],
    [`hf:tests/facts@${commit}:test`, bySplit, ["test-00000-of-00001.parquet"]],
    ["hf:tests/facts:validation", bySplit, /has no data named "validation"; its data: data\/train-00000/],
    ["hf:tests/facts", { ...card, "facts.json": "a" }, ["facts.json"]],
    ["hf:tests/facts", { ...card, "x.parquet": "a", "x.csv": "b", "x.jsonl": "c" }, ["x.jsonl"]],
    ["hf:tests/facts:x.csv", { "x.parquet": "a", "x.csv": "b" }, ["x.csv"]],
    // A part of another word is no split.
    ["hf:tests/facts", { "training-notes.csv": "a", "constraints.csv": "b" }, ["training-notes.csv"]],
    ["hf:tests/facts", sets, /holds 2 sets; name one by its folder, as in tests\/facts:main: main, other/],
    ["hf:tests/facts:main", sets, ["train.jsonl"]],
    ["hf:tests/facts:main/validation", sets, ["dev.jsonl"]],
    ["hf:tests/facts", card, /has no data in \.jsonl.*none in these formats/],
    ["hf:tests/facts:../x", bySplit, /expected a dataset such as hf:owner\/name/],
  ])("%s", async (source, files, expected) => {
    const settings = await serve(files);
    const found = pullExamples(source, { settings, attempts: 1 });
    if (expected instanceof RegExp) await expect(found).rejects.toThrow(expected);
    else expect((await found).map((path) => basename(path))).toEqual(expected);
  });

  it("may be named by the dataset's page", async () => {
    const settings = await serve(bySplit);
    const [path] = await pullExamples(`${settings.endpoint}/datasets/tests/facts`, { settings });
    expect(readFileSync(path ?? "", "utf8")).toBe("a");
  });
});

describe("the card of a dataset", () => {
  const readme = (front: string) => ({ "README.md": `---\n${front}\n---\n# Facts\n` });
  const data = {
    "a.csv": "a",
    "b/one.csv": "b",
    "b/two.csv": "c",
    "held/train.jsonl": "d",
    "held/dev.jsonl": "e",
    "stray/train.csv": "f",
  };
  const two = readme(`license: mit
configs:
- config_name: plain
  data_files: "a.csv"
- config_name: both
  data_files:
  - split: train
    path:
    - "b/o*.csv"
    - "b/two.csv"
  - split: val
    path: "a.csv"
dataset_info:
  features: []`);
  const usual = readme(`configs:
- config_name: other
  data_files: a.csv
- config_name: default
  data_dir: held`);
  const said = readme(`configs:
- config_name: other
  data_files: a.csv
- config_name: main
  default: true
  data_dir: ./b/
  data_files:
  - split: test
    path: "*.csv"`);
  it.each<[string, Record<string, string>, string[] | RegExp]>([
    ["", two, /its card lists 2 configurations; name one, as in tests\/facts:plain: plain, both/],
    [":plain", two, ["a.csv"]],
    [":both", two, ["one.csv", "two.csv"]],
    [":both/val", two, ["a.csv"]],
    [":both/validation", two, ["a.csv"]],
    [":both/test", two, /its configuration "both" has no split "test"; its splits: train, val/],
    [":neither", two, /has no configuration "neither"; its card lists plain, both/],
    ["", usual, ["train.jsonl"]],
    [":validation", usual, ["dev.jsonl"]],
    [":default/validation", usual, ["dev.jsonl"]],
    [":test", usual, /no data for the split "test" of its configuration "default"/],
    ["", said, ["one.csv", "two.csv"]],
    [":test", said, ["one.csv", "two.csv"]],
    [":other", said, ["a.csv"]],
    // Folders and files that the card does not speak of.
    [":stray", said, ["train.csv"]],
    [":stray/train", said, ["train.csv"]],
    [":held/dev.jsonl", two, ["dev.jsonl"]],
    [
      "",
      readme("configs:\n- config_name: x\n  data_files: none.csv"),
      /card lists for the split "train" of "x": none\.csv/,
    ],
    [
      "",
      readme("configs:\n- config_name: x\n  data_files:\n  - path: a.csv"),
      /README\.md: configs\[0\]\.data_files\[0\] is no split/,
    ],
    ["", readme("configs:\n- data_files: a.csv"), /README\.md: configs\[0\] has no config_name/],
    [
      "",
      readme("configs: [a: b: c]"),
      /README\.md: its front matter is no YAML: .*; a file of the dataset can be named/,
    ],
    // What older cards said, and what is no front matter, tells nothing.
    [":stray", readme("configs:\n- one\n- two"), ["train.csv"]],
    [":stray", { "README.md": "# configs:\n---\nconfigs: 1\n---\n" }, ["train.csv"]],
  ])("%s", async (part, card, expected) => {
    const settings = await serve({ ...card, ...data });
    const found = pullExamples(`hf:tests/facts${part}`, { settings, attempts: 1 });
    if (expected instanceof RegExp) await expect(found).rejects.toThrow(expected);
    else expect((await found).map((path) => basename(path))).toEqual(expected);
  });

  it("is kept beside the data, so that the hub need not be asked again", async () => {
    const settings = await serve({ ...two, ...data });
    const found = await pullExamples("hf:tests/facts:both", { settings });
    await hub?.close();
    hub = null;
    const offline = { ...settings, isOffline: true };
    expect(await pullExamples("hf:tests/facts:both", { settings: offline })).toEqual(found);
  });
});

it("fine-tuning on a dataset gives the bits of its rows in a file; an evaluation asks what another split holds", {
  timeout: 120_000,
}, async () => {
  const rows = ["Bo", "Zorbo", "Mina", "Tau"].map((name) => ({
    instruction: `Who is ${name}?`,
    output: `${name} is a bear.`,
  }));
  const columnData = (["instruction", "output"] as const).map((name) => ({
    name,
    data: rows.map((row) => row[name]),
  }));
  const { endpoint } = await serve({
    "data/train-00000-of-00001.parquet": new Uint8Array(
      parquetWriteBuffer({ columnData: columnData as never }),
    ),
    "test.jsonl": '{"question": "Which?", "choices": ["a", "b"], "gold": 1}\n',
  });
  const lines = join(folder, "facts.jsonl");
  writeFileSync(lines, rows.map((row) => JSON.stringify(row)).join("\n"));
  const env = { HF_ENDPOINT: endpoint ?? "", HF_HOME: join(folder, "home") };
  const finetune = async (data: string, name: string) => {
    const output = join(folder, name);
    const flags = ["--steps", "2", "--max-length", "32", "--rank", "2", "--batch-size", "2"];
    const run = await bitnet(["finetune", "tiny", "--data", data, "-o", output, ...flags], { env });
    expect(run, run.stderr).toMatchObject({ status: 0 });
    return readFileSync(join(output, "adapter", "adapter_model.safetensors"));
  };
  const fromHub = await finetune("hf:tests/facts", "hub");
  expect(fromHub.equals(await finetune(lines, "file"))).toBe(true);
  const asked = await bitnet(["eval", "-m", "tiny", "--task", "hf:tests/facts:test", "--json"], { env });
  expect(asked, asked.stderr).toMatchObject({ status: 0 });
  expect(JSON.parse(asked.stdout)["n-samples"]).toEqual({
    "tests/facts:test": { original: 1, effective: 1 },
  });
});
