/** Readers of what a server keeps for itself: records of files and batches, journals, alerts and snapshots, answers, the lock of its folder. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { customIdOf, lineBeginning } from "#server/batches/batch-lines.ts";
import { runningBatch } from "#server/batches/batch-record.test.kit.ts";
import { showBatch } from "#server/batches/batch-record.ts";
import { BatchStore } from "#server/batches/batch-store.ts";
import { BatchWork } from "#server/batches/batch-work.ts";
import { FileStore, showFile } from "#server/batches/file-store.ts";
import { Journal } from "#server/batches/journal.ts";
import { defaultBatchSettings } from "#server/batches/settings.ts";
import { decodeAnswer } from "#server/kept-answer.ts";
import { Activity } from "#server/monitor/activity.ts";
import { defaultThresholds } from "#server/monitor/alerts.ts";
import { Monitor } from "#server/monitor/monitor.ts";
import { PulledModels } from "#server/pulling/pulled-models.ts";
import { openDataFolder } from "#server/store/data-folder.ts";
import { createLocalLeases } from "#server/store/leases.ts";
import { tenantFolder } from "#server/store/records.ts";
import { parseAnswer } from "#server/store/shared-answers.ts";
import { otherBytes, otherJson, otherLines, pick, type Random } from "./mutants.ts";
import type { Files, FuzzedReader } from "./reader.ts";
import { latin, lines, put, textReader } from "./text-reader.ts";

const tenant = "somebody";
const now = () => 1_800_000_000_000;
/** `file-2` and 29 digits more. */
const idOf = (start: string) => `${start}${"0123456789abcdef".repeat(2).slice(0, 29)}`;
const fileId = idOf("file-0");
const batchId = idOf("batch_1");

const fileRecord = {
  ...{ id: fileId, tenant, bytes: 3, filename: "a.jsonl", purpose: "batch" },
  ...{ created_at: 1_800_000_000, expires_at: 1_800_000_100 },
};
const batchRecord = runningBatch(batchId, tenant);
const batchEnd = {
  ...{ id: batchId, tenant, record: { ...batchRecord, status: "completed", completed_at: 1_800_000_002 } },
  journals: { output: `${batchId}.output-abcdef`, error: null },
};
const request = (id: string) => ({
  ...{ custom_id: id, method: "POST", url: "/v1/completions", body: { prompt: "Hi", max_tokens: 5 } },
});
const answer = (id: string) => ({
  ...{ id: `batch_req_${id}`, custom_id: id, error: null },
  response: {
    status_code: 200,
    request_id: "r",
    body: { usage: { prompt_tokens: 3, completion_tokens: 4 } },
  },
});

/** The folder of a server with one batch that has been begun, or decided. */
const batchFiles = (isDecided: boolean): Files => {
  const place = `batches/${tenantFolder(tenant)}/${batchId}`;
  const claim = `${tenantFolder(tenant)}-${createHash("sha256").update("key").digest("hex")}`;
  return new Map([
    [`active/${batchId}`, latin(JSON.stringify(tenant))],
    [`claims/${claim}`, latin(JSON.stringify({ id: batchId, request: "x" }))],
    [`files/${tenantFolder(tenant)}/${fileId}.json`, latin(JSON.stringify(fileRecord))],
    [`files/${tenantFolder(tenant)}/${fileId}.bin`, latin("abc")],
    [`${place}.json`, latin(JSON.stringify(batchRecord))],
    [`${place}.input`, latin(lines(request("a"), request("b")))],
    [`${place}.output`, latin(`${lines(answer("a"))}\n`)],
    ...(isDecided
      ? ([
          [`${place}.decided`, latin(JSON.stringify(batchEnd))],
          [`${place}.output-abcdef`, latin(`${lines(answer("a"))}\n`)],
        ] as const)
      : []),
  ]);
};
const folders = [batchFiles(false), batchFiles(true)];

function otherFolder(files: Files, random: Random): Files {
  const name = pick([...files.keys()], random);
  const text = Buffer.from(files.get(name) ?? []).toString();
  if (random() % 12 === 0) return new Map([...files].filter(([each]) => each !== name));
  if (name.endsWith(".bin")) return new Map(files).set(name, otherBytes(latin(text), random));
  return new Map(files).set(
    name,
    latin(/put/.test(name) ? otherLines(text, random) : otherJson(text, random)),
  );
}

/** What a server does with its folder when it starts, and when clients ask. */
async function useFolder(folder: string): Promise<void> {
  const files = await FileStore.open(folder, now);
  if (!Number.isFinite(files.storedBytes)) throw new Error("the sizes of files make no sum");
  for (const id of await files.ids(tenant)) {
    const record = await files.find(tenant, id);
    if (record !== null) JSON.stringify(showFile(record));
  }
  const batches = await BatchStore.open(folder, now);
  for (const id of await batches.ids(tenant)) {
    const record = await batches.find(tenant, id);
    if (record !== null) JSON.stringify(showBatch(record, true));
  }
  await batches.claim(tenant, "key", { id: batchId, request: "y" });
  const limits = { maxLineBytes: 2 ** 16, defaultOutputTokens: 16, maxOutputTokens: 64 };
  const parts = { batches, files, settings: defaultBatchSettings, limits, now, queuedTokens: async () => 0 };
  const leases = createLocalLeases();
  for (const record of await batches.active()) {
    const held = await leases.acquire(record.id);
    const work = held === null ? null : await BatchWork.open(parts, record, held).catch(nullIfMissing);
    if (work === null) continue;
    while (work.hasOpenLines) await work.runNext(async () => ({ status: 200, requestId: "r", body: {} }));
    await work.complete();
  }
  await files.sweep();
  await batches.sweep();
}

/** A file that is gone is reported by the runner, which goes on with the others. */
function nullIfMissing(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

const snapshot = (time: number) => ({
  ...{ time, memory_mb: 900, memory_planned_mb: 1000, cpu_percent: 50, tokens_per_second: 9, requests: 1 },
  ...{
    failed: 0,
    active: 1,
    queued: 0,
    queued_tokens: 0,
    batch_lines: 0,
    kv_usage: 0.5,
    cache_hit_rate: null,
  },
  ...{ error_rate: 0, latency_ms: 10, first_token_ms: 5, watts: null },
});
const alert = {
  ...{ type: "cpu", severity: "warning", message: "busy", threshold: 80, peak: 90 },
  ...{ start: now() - 1000, end: null },
};
const kept = {
  pieces: [{ text: "a", id: 1 }],
  result: {
    ...{
      text: "a",
      stopReason: "eos",
      promptIds: [1, 2],
      ids: [3],
      promptTokens: 2,
      cachedTokens: 0,
      seed: 1,
    },
    timings: { promptMs: 1, decodeMs: 1 },
  },
};
const shared = {
  ...{ id: "resp_1", tenant, items: [{ type: "message" }], input: [{ role: "user" }] },
  response: { id: "resp_1", output: [{ id: "msg_1", type: "message" }] },
};

export const serverReaders: readonly FuzzedReader[] = [
  {
    name: "files and batches of a server",
    rounds: 40,
    takesAnything: true,
    mutant: (random) => otherFolder(pick(folders, random), random),
    async read(files, folder) {
      put(files, folder);
      await useFolder(folder);
    },
  },
  textReader(
    "journal of answers",
    {
      file: "answers.jsonl",
      rounds: 80,
      sources: [`${lines(answer("a"), answer("b"), answer("c"))}\n`],
      other: otherLines,
    },
    async (path) => {
      const before = await readFile(path, "utf8");
      let refusal: unknown = null;
      // A file that a person named is left as it is; what a server calls its own is cut off where it is damaged.
      for (const named of [{ begins: lineBeginning }, {}]) {
        try {
          const journal = await Journal.open(path, { idOf: customIdOf, ...named });
          await journal.append("next", lines(answer("next")));
          await journal.close();
        } catch (error) {
          refusal = error;
          if ((await readFile(path, "utf8")) !== before) throw new Error("a refused file was changed");
          continue;
        }
        if (!(await readFile(path, "utf8")).endsWith(`${lines(answer("next"))}\n`))
          throw new Error("what was added is not there");
      }
      if (refusal !== null) throw refusal;
    },
  ),
  {
    name: "monitor",
    rounds: 80,
    takesAnything: true,
    mutant(random) {
      const files: Record<string, string> = {
        "snapshots.jsonl": `${lines(snapshot(now() - 2000), snapshot(now() - 1000))}\n`,
        "alerts.json": JSON.stringify([alert, { ...alert, type: "memory", end: now() - 10 }]),
      };
      const name = pick(Object.keys(files), random);
      const other = name === "alerts.json" ? otherJson : otherLines;
      return new Map(
        Object.entries({ ...files, [name]: other(files[name] ?? "", random) }).map(([key, text]) => [
          key,
          latin(text),
        ]),
      );
    },
    async read(files, folder) {
      put(files, folder);
      const { totals } = new Activity({} as never);
      const reading = {
        ...{ totals, cpuMicros: 0, joules: null, memoryBytes: 1, plannedBytes: null, active: 0, queued: 0 },
        ...{ queuedTokens: 0, batchLines: 0, kvUsage: 0, time: now() },
      };
      const monitor = await Monitor.open({
        ...{ read: () => reading, nCores: 2, intervalMs: 60_000, thresholds: defaultThresholds, folder },
        ...{ webhook: null, log: () => {} },
      });
      for (const { type, message, peak, start } of monitor.alerts) message.slice(peak + start, type.length);
      JSON.stringify([monitor.summary(24), monitor.history(24)]);
      await monitor.tick();
    },
  },
  textReader(
    "models that were pulled",
    {
      file: "pulled/a.json",
      rounds: 100,
      takesAnything: true,
      sources: [JSON.stringify({ name: "m", repo: "o/m", path: "/m.gguf", at: 1 })],
      other: otherJson,
    },
    async (path) => {
      for (const model of await new PulledModels(join(path, "..", "..")).all())
        [model.name, model.repo, model.path].join("").slice(model.at);
    },
  ),
  textReader(
    "lock of a server's folder",
    {
      file: "lock",
      rounds: 100,
      // Of one that lives, and of one that cannot.
      sources: [process.ppid, 2 ** 31 - 1].map((pid) => JSON.stringify({ pid, host: hostname() })),
      other: (source, random) => (random() % 3 === 0 ? source : otherJson(source, random)),
    },
    async (path) => (await openDataFolder(join(path, ".."), false)).close(),
  ),
  textReader(
    "answers kept for others",
    {
      file: "answer.json",
      rounds: 200,
      takesAnything: true,
      sources: [JSON.stringify(kept), JSON.stringify(shared)],
      other: otherJson,
    },
    async (path) => {
      const text = await readFile(path, "utf8");
      for (const { text: piece } of decodeAnswer(text)?.pieces ?? []) piece.slice(1);
      for (const { id, type } of parseAnswer(text)?.response.output ?? [])
        `${id.slice(1)}${type.slice(1)}`.trim();
    },
  ),
];
