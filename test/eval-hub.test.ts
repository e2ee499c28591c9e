/** Benchmarks from the Hub's datasets: Parquet files of a hub of the test's own, kept in its cache, give the tasks that files give. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTask, type TaskOptions, taskNames } from "@bitnet.ts/eval";
import { type HubSettings, hubSettings } from "bitnet.ts/hub";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bitnet } from "./cli-process.ts";
import { type HubServer, type ServedFile, startHub } from "./hub-server.ts";

const fixtures = join(import.meta.dirname, "..", "packages", "eval", "fixtures");
let folder = "";
let hub: HubServer | null = null;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-eval-hub-"));
});

afterEach(async () => {
  await hub?.close();
  hub = null;
  rmSync(folder, { recursive: true, force: true });
});

type Row = Record<string, unknown>;

function parquet(rows: readonly Row[]): Buffer {
  const names = Object.keys(rows[0] ?? {});
  const columnData = names.map((name) => ({ name, data: rows.map((row) => row[name]) }));
  return Buffer.from(parquetWriteBuffer({ columnData: columnData as never }));
}

async function served(repo: string, files: Record<string, Buffer>): Promise<TaskOptions> {
  const all = Object.entries(files).map(([path, bytes]): [string, ServedFile] => [
    path,
    { bytes, isLarge: true },
  ]);
  hub = await startHub(Object.fromEntries(all), `datasets/${repo}`);
  const settings: HubSettings = {
    ...(await hubSettings({})),
    endpoint: hub.endpoint,
    cacheDir: join(folder, "hub"),
  };
  return { folder: null, chat: false, allowsCode: true, hub: { settings } };
}

const questions = [
  {
    id: "a",
    question: "What is wet?",
    choices: { text: ["fire", "water", "sand"], label: ["A", "B", "C"] },
    answerKey: "B",
  },
  {
    id: "b",
    question: "What is hot?",
    choices: { text: ["ice", "snow", "rain", "fire"], label: ["1", "2", "3", "4"] },
    answerKey: "4",
  },
];

describe("data of the Hub", () => {
  it("in Parquet files are the items that files on the disk hold, and are asked for once", async () => {
    const lines = questions.map((question) => JSON.stringify(question)).join("\n");
    writeFileSync(join(folder, "arc_challenge.jsonl"), lines);
    const options = await served("allenai/ai2_arc", {
      "ARC-Challenge/test-00000-of-00002.parquet": parquet(questions.slice(0, 1)),
      "ARC-Challenge/test-00001-of-00002.parquet": parquet(questions.slice(1)),
      "ARC-Challenge/train-00000-of-00001.parquet": parquet(questions),
      "ARC-Easy/test-00000-of-00001.parquet": parquet(questions),
    });
    const fromFiles = await loadTask("arc_challenge", { ...options, folder });
    const fromHub = await loadTask("arc_challenge", options);
    expect(fromHub.items).toEqual(fromFiles.items);
    expect(fromHub.items.map((item) => "gold" in item && item.gold)).toEqual([1, 3]);
    const asked = () =>
      hub?.seen.filter(({ path }) => path.includes("/resolve/")).map(({ path }) => path) ?? [];
    expect(
      asked()
        .map((path) => path.replace(/^.*\//, ""))
        .sort(),
    ).toEqual(["test-00000-of-00002.parquet", "test-00001-of-00002.parquet"]);
    await loadTask("arc_challenge", options);
    expect(asked()).toHaveLength(2);
    const settings = { ...options.hub?.settings, isOffline: true };
    const offline = await loadTask("arc_challenge", { ...options, hub: { settings } });
    expect(offline.items).toEqual(fromHub.items);
    await expect(loadTask("arc_easy", { ...options, hub: { settings } })).rejects.toThrow(/ARC-Easy/);
  });

  it("give BoolQ its answers from true and false", async () => {
    const options = await served("google/boolq", {
      "data/validation-00000-of-00001.parquet": parquet([
        { question: "is water wet", answer: true, passage: "Water -- It is wet." },
        { question: "is fire cold", answer: false, passage: "Fire -- It is hot." },
      ]),
    });
    const { items } = await loadTask("boolq", options);
    expect(items.map((item) => "gold" in item && item.gold)).toEqual([1, 0]);
  });

  it("give MMLU and GSM8K their examples, and 64-bit integers as numbers", async () => {
    const item = (question: string, answer: bigint) => ({
      question,
      subject: "astronomy",
      choices: ["sun", "moon", "star", "dust"],
      answer,
    });
    const options = await served("cais/mmlu", {
      "all/test-00000-of-00001.parquet": parquet([item("Which is ours?", 0n)]),
      "all/dev-00000-of-00001.parquet": parquet([item("Which is near?", 1n)]),
    });
    const { items } = await loadTask("mmlu", options);
    const [first] = items;
    expect(first).toMatchObject({ gold: 0 });
    expect(JSON.stringify(first)).toMatch(/Which is near\?.*Answer: B\\n\\nWhich is ours\?/);
    await hub?.close();
    const gsm8k = await served("openai/gsm8k", {
      "main/test-00000-of-00001.parquet": parquet([{ question: "1 + 2?", answer: "#### 3" }]),
      "main/train-00000-of-00001.parquet": parquet([{ question: "1 + 1?", answer: "#### 2" }]),
    });
    const [asked] = (await loadTask("gsm8k", gsm8k)).items;
    expect(JSON.stringify(asked)).toMatch(/1 \+ 1\?.*#### 2.*1 \+ 2\?/);
  });

  it("that are missing, broken or no Parquet are refused by name", async () => {
    const good = parquet(questions);
    const cases: [string, Buffer, RegExp][] = [
      ["ARC-Easy/train-00000-of-00001.parquet", good, /datasets\/allenai\/ai2_arc: has no file like/],
      ["ARC-Easy/test-00000-of-00001.parquet", good.subarray(0, good.length - 9), /is no Parquet file/],
      ["ARC-Easy/test-00000-of-00001.parquet", Buffer.from("{}\n"), /is no Parquet file/],
    ];
    for (const [path, bytes, message] of cases) {
      const options = await served("allenai/ai2_arc", { [path]: bytes });
      await expect(loadTask("arc_easy", options)).rejects.toThrow(message);
      await hub?.close();
      rmSync(join(folder, "hub"), { recursive: true, force: true });
    }
    for (let at = 0; at < good.length; at += 101) {
      const bytes = Buffer.from(good);
      bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      const path = join(folder, "bent.parquet");
      writeFileSync(path, bytes);
      const found = await loadTask(path, { folder: null, chat: false, allowsCode: false }).catch(
        (error: unknown) => error,
      );
      if (found instanceof Error) expect(found.name, `byte ${at}: ${found.stack}`).toBe("BitNetError");
    }
  });

  it("are known for every task", async () => {
    for (const name of taskNames) {
      const options = await served("tests/other", {
        "x.txt": readFileSync(join(fixtures, "gsm8k_test.jsonl")),
      });
      const failed = loadTask(name, { ...options, hub: { ...options.hub, attempts: 1 } });
      await expect(failed, name).rejects.toThrow(/datasets\/[\w-]+\/[\w-]+/);
      await hub?.close();
    }
  });

  it("serve the command, which goes on where it was stopped and says what it found", {
    timeout: 120_000,
  }, async () => {
    const { hub: given } = await served("allenai/ai2_arc", {
      "ARC-Easy/test-00000-of-00001.parquet": parquet(questions),
    });
    const output = join(folder, "results");
    const env = { HF_ENDPOINT: given?.settings?.endpoint ?? "", HF_HOME: join(folder, "home") };
    const run = () => bitnet(["eval", "-m", "tiny", "--task", "arc_easy", "-o", output, "--json"], { env });
    const first = await run();
    expect(first, first.stderr).toMatchObject({ status: 0 });
    const { results, ...rest } = JSON.parse(first.stdout);
    expect(rest["n-samples"]).toEqual({ arc_easy: { original: 2, effective: 2 } });
    expect(Object.keys(results.arc_easy)).toContain("acc_norm,none");
    const read = (name: string) => readFileSync(join(output, name), "utf8");
    expect(JSON.parse(read("results.json")).results).toEqual(results);
    expect(read("results.md")).toContain("arc_easy");
    expect(read("results.svg")).toMatch(/^<svg/);
    // Items that are done are not computed again: what the file says of them counts.
    const items = read("items-arc_easy.jsonl").trim().split("\n");
    expect(items).toHaveLength(3);
    const wrong = (line: string) => line.replaceAll(/("acc\w*":)(true|false)/g, "$1false");
    writeFileSync(join(output, "items-arc_easy.jsonl"), `${items.map(wrong).join("\n")}\n`);
    const again = JSON.parse((await run()).stdout);
    expect(again.results.arc_easy).toMatchObject({ "acc,none": 0, "acc_norm,none": 0 });
    expect(hub?.seen.filter(({ path }) => path.includes("/resolve/"))).toHaveLength(1);
  });
});
