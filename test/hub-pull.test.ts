/** Pulling from a hub that behaves, and from hubs that do not: a verified file or a clear error each time. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { acquireLock } from "@bitnet.ts/core/node";
import {
  hubSettings,
  listCache,
  type PullOptions,
  type PullProgress,
  pull,
  removeFromCache,
} from "bitnet.ts/hub";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { commit, type HubServer, randomBytes, repo, sendRange, sha256, startHub } from "./hub-server.ts";

const model = randomBytes(300_000, 1);
const small = Buffer.from("# A small file\n");
let hub: HubServer;
let cacheDir: string;
let closers: (() => unknown)[];

beforeEach(async () => {
  hub = await startHub({
    "model.gguf": { bytes: model, isLarge: true },
    "README.md": { bytes: small, isLarge: false },
  });
  cacheDir = mkdtempSync(join(tmpdir(), "bitnet-hub-"));
  closers = [() => hub.close(), () => rmSync(cacheDir, { recursive: true, force: true })];
});
afterEach(async () => {
  for (const close of closers) await close();
});

function options(extra: PullOptions = {}): PullOptions {
  const { settings, ...others } = extra;
  return {
    pieceBytes: 32_768,
    backoffMs: 1,
    ...others,
    settings: {
      endpoint: hub.endpoint,
      cacheDir,
      token: null,
      isOffline: false,
      stallMs: 10_000,
      ...settings,
    },
  };
}

async function errorOf(action: Promise<unknown>): Promise<BitNetError> {
  const error = await action.then(
    () => null,
    (reason) => reason,
  );
  if (error instanceof BitNetError) return error;
  throw error ?? new Error("expected a BitNetError, but the call succeeded");
}

const folder = () => join(cacheDir, "models--tests--tiny");
const blobNames = () => readdirSync(join(folder(), "blobs"));

describe("a hub that behaves", () => {
  test("the file lies in the layout of Hugging Face's cache, byte for byte, and is not asked for twice", async () => {
    const pulled = await pull(repo, options());
    expect(pulled.path).toBe(join(folder(), "snapshots", commit, "model.gguf"));
    expect(readFileSync(pulled.path).equals(model)).toBe(true);
    expect(readlinkSync(pulled.path)).toBe(`../../blobs/${sha256(model)}`);
    expect(readFileSync(join(folder(), "refs", "main"), "utf8")).toBe(commit);
    expect(blobNames()).toEqual([sha256(model)]);
    const nRequests = hub.seen.length;
    await pull(repo, options());
    expect(hub.seen.slice(nRequests).map(({ path }) => path)).toEqual([`/api/models/${repo}/revision/main`]);
  });

  test("pieces come over several connections, and progress ends at the whole", async () => {
    const seen: PullProgress[] = [];
    await pull(`hf:${repo}`, options({ onProgress: (progress) => seen.push(progress) }));
    expect(hub.seen.filter(({ range }) => range !== undefined).length).toBe(Math.ceil(model.length / 32_768));
    expect(seen.at(-1)).toMatchObject({ doneBytes: model.length, totalBytes: model.length });
    expect(new Set(seen.map(({ phase }) => phase))).toEqual(new Set(["downloading", "verifying"]));
  });

  test("a file by name, small files by Git's hash, a page's address, a folder of one's own", async () => {
    const dir = join(cacheDir, "own");
    const pulled = await pull(`${repo}:README.md`, options({ dir }));
    expect(pulled.path).toBe(join(dir, "README.md"));
    expect(readFileSync(pulled.path).equals(small)).toBe(true);
    const page = await pull(`${hub.endpoint}/${repo}/blob/main/README.md`, options());
    expect(readFileSync(page.path).equals(small)).toBe(true);
    // What lies there under the name but is something else is replaced.
    writeFileSync(pulled.path, "# B small file\n");
    await pull(`${repo}:README.md`, options({ dir }));
    expect(readFileSync(pulled.path).equals(small)).toBe(true);
  });

  test("a Hugging Face folder: what makes up the model and nothing else", async () => {
    hub.files.clear();
    const names = [
      "config.json",
      "tokenizer.json",
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
    ];
    for (const name of [...names, "training_args.bin", "pytorch_model.bin", "onnx/model.onnx"])
      hub.files.set(name, { bytes: Buffer.from(name), isLarge: name.endsWith("s") });
    const pulled = await pull(repo, options());
    expect(readdirSync(pulled.path).sort()).toEqual(names.sort());
  });

  test("of several models one has to be named; parts come together", async () => {
    hub.files.set("other.gguf", { bytes: small, isLarge: true });
    expect(await errorOf(pull(repo, options()))).toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("other.gguf"),
    });
    hub.files.clear();
    const parts = ["big-00001-of-00002.gguf", "big-00002-of-00002.gguf"];
    for (const part of parts) hub.files.set(part, { bytes: Buffer.from(part), isLarge: true });
    const pulled = await pull(repo, options());
    expect(pulled.files.map(({ path }) => path)).toEqual(parts);
    expect(pulled.path.endsWith("big-00001-of-00002.gguf")).toBe(true);
  });

  test("the token goes to the hub alone, and redirects are followed between loopback hosts", async () => {
    const other = await startHub({});
    closers.push(() => other.close());
    other.misbehave = (request, response) => {
      sendRange(response, model, request.headers.range);
      return true;
    };
    hub.misbehave = (_, response, { n }) => {
      if (n >= 0) response.writeHead(302, { location: `${other.endpoint}/cdn/file` }).end();
      return n >= 0;
    };
    await pull(repo, options({ token: "hf_secret" }));
    expect(new Set(hub.seen.map(({ authorization }) => authorization))).toEqual(
      new Set(["Bearer hf_secret"]),
    );
    expect(other.seen.length).toBeGreaterThan(1);
    expect(other.seen.every(({ authorization }) => authorization === undefined)).toBe(true);
    // Once the way is known, pieces are asked for where it ends.
    expect(hub.seen.length).toBeLessThan(other.seen.length);
  });

  test("what is in the cache serves offline and when the hub is away", async () => {
    const first = await pull(repo, options());
    await hub.close();
    const notices: string[] = [];
    const away = await pull(repo, options({ onNotice: (line) => notices.push(line) }));
    expect(away).toMatchObject({ path: first.path, isFromCache: true });
    expect(notices.join()).toContain("the cache");
    const offline = await pull(repo, options({ settings: { isOffline: true } }));
    expect(offline.path).toBe(first.path);
    const missing = pull(repo, options({ revision: "other", settings: { isOffline: true } }));
    expect(await errorOf(missing)).toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  test("the cache is listed, and removing gives the bytes back", async () => {
    await pull(repo, options());
    await pull(`${repo}:README.md`, options());
    const [cached] = await listCache(cacheDir);
    expect(cached).toMatchObject({ repo, revisions: [{ commit, refs: ["main"] }], unfinishedBytes: 0 });
    expect(cached?.revisions[0]?.files.map(({ path, size }) => [path, size])).toEqual([
      ["README.md", small.length],
      ["model.gguf", model.length],
    ]);
    expect(await removeFromCache(cacheDir, repo, { file: "README.md", revision: null })).toBe(small.length);
    expect(blobNames()).toEqual([sha256(model)]);
    await removeFromCache(cacheDir, repo, { file: null, revision: "main" });
    expect(existsSync(folder())).toBe(false);
    expect(await errorOf(removeFromCache(cacheDir, repo, { file: null, revision: null }))).toMatchObject({
      code: "FILE_NOT_FOUND",
    });
  });
});

describe("a hub that misbehaves for a while: the file is whole in the end", () => {
  const cases: Record<string, Parameters<typeof setMisbehaviour>[0]> = {
    "cuts connections": (request, response, { n }) => {
      if (n % 2 !== 0) return false;
      const [, first = "0"] = /^bytes=(\d+)-/.exec(request.headers.range ?? "") ?? [];
      response.writeHead(206, {
        "content-length": 32_768,
        "content-range": rangeHeader(request.headers.range),
      });
      response.write(model.subarray(Number(first), Number(first) + 5000), () => response.destroy());
      return true;
    },
    "answers 429 and 503": (_, response, { n }) => {
      if (n < 0 || n % 3 === 2) return false;
      response.writeHead(n % 3 === 0 ? 429 : 503, { "retry-after": "0" }).end();
      return true;
    },
    "sends other ranges than those asked for": (_, response, { n }) => {
      if (n % 2 !== 0) return false;
      sendRange(response, model, "bytes=7-9");
      return true;
    },
    "sends more than it says": (request, response, { n }) => {
      if (n % 2 !== 0) return false;
      response.writeHead(206, { "content-range": rangeHeader(request.headers.range) });
      response.end(Buffer.concat([model, model]));
      return true;
    },
    "falls silent": (request, response, { n }) => {
      if (n !== 1) return false;
      response
        .writeHead(206, { "content-length": 32_768, "content-range": rangeHeader(request.headers.range) })
        .flushHeaders();
      return true;
    },
    "knows no ranges": (_, response, { n }) => {
      if (n < 0) return false;
      sendRange(response, model, undefined);
      return true;
    },
    "sends one corrupted range": (request, response, { n }) => {
      if (n !== 3) return false;
      const wrong = Buffer.from(model);
      for (let i = 0; i < wrong.length; i += 1000) wrong[i] = (wrong[i] ?? 0) ^ 1;
      sendRange(response, wrong, request.headers.range);
      return true;
    },
  };
  function setMisbehaviour(misbehave: NonNullable<HubServer["misbehave"]>): void {
    hub.misbehave = misbehave;
  }
  function rangeHeader(range: string | undefined): string {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    return `bytes ${first}-${last}/${model.length}`;
  }

  test.each(Object.entries(cases))("%s", async (_, misbehave) => {
    setMisbehaviour(misbehave);
    let nMisbehaved = 0;
    const original = hub.misbehave;
    hub.misbehave = (...args) => {
      const did = original?.(...args) ?? false;
      if (did) nMisbehaved++;
      return did;
    };
    const pulled = await pull(repo, options({ attempts: 50, settings: { stallMs: 300 } }));
    expect(readFileSync(pulled.path).equals(model)).toBe(true);
    expect(nMisbehaved).toBeGreaterThan(0);
    expect(blobNames()).toEqual([sha256(model)]);
  });
});

describe("a hub that stays wrong: a clear error, and nothing under the final name", () => {
  async function fails(extra: PullOptions = {}): Promise<BitNetError> {
    const error = await errorOf(pull(repo, options({ attempts: 3, ...extra })));
    expect(existsSync(join(folder(), "snapshots"))).toBe(false);
    expect(existsSync(folder()) ? blobNames().filter((name) => !name.includes(".")) : []).toEqual([]);
    return error;
  }

  test("the hash is a lie", async () => {
    hub.files.set("model.gguf", { bytes: model, isLarge: true, promisedHash: sha256(small) });
    expect(await fails()).toMatchObject({
      code: "IO_FAILED",
      message: expect.stringContaining("not those that the hub promises"),
    });
    expect(blobNames()).toEqual([]); // wrong bytes are not continued
  });

  test.each([model.length - 1, model.length + 1, 10 * model.length])(
    "the size is a lie: %d",
    async (promisedSize) => {
      hub.files.set("model.gguf", { bytes: model, isLarge: true, promisedSize });
      expect((await fails()).code).toBe("IO_FAILED");
    },
  );

  test("it hangs, before the header and within a body", async () => {
    hub.misbehave = () => true;
    expect((await fails({ settings: { stallMs: 50 } })).message).toContain("sent nothing for 0.05 s");
    hub.misbehave = (_, response, { n }) => {
      if (n >= 0)
        response.writeHead(206, { "content-range": `bytes 0-32767/${model.length}` }).flushHeaders();
      return n >= 0;
    };
    expect((await fails({ settings: { stallMs: 50 } })).code).toBe("IO_FAILED");
  });

  test.each([
    [401, "RepoNotFound", "ACCESS_DENIED", "private"],
    [403, "GatedRepo", "ACCESS_DENIED", "ask for access"],
    [404, "RevisionNotFound", "FILE_NOT_FOUND", "no such revision"],
    [404, "EntryNotFound", "FILE_NOT_FOUND", "no such file"],
    [429, "", "IO_FAILED", "fewer requests"],
    [418, "", "IO_FAILED", "answered 418"],
  ])("it answers %d %s", async (status, errorCode, code, words) => {
    hub.misbehave = (_, response) => {
      response.writeHead(status, { "x-error-code": errorCode, "x-error-message": "raw" }).end("raw");
      return true;
    };
    const error = await fails();
    expect(error).toMatchObject({ code, message: expect.stringContaining(words) });
    expect(error.message).not.toContain("raw");
  });

  test.each(["http://example.invalid/file", "file:///etc/passwd", "ftp://127.0.0.1/x", ""])(
    "it redirects to %s",
    async (location) => {
      hub.misbehave = (_, response, { n }) => {
        if (n >= 0) response.writeHead(302, { location }).end();
        return n >= 0;
      };
      expect((await fails()).message).toMatch(/only https is followed|in circles/);
    },
  );

  test.each(["no JSON", "[]", '{"sha":"../../etc","siblings":[]}', `{"sha":"${commit}","siblings":7}`])(
    "it describes the repository with %s",
    async (text) => {
      hub.misbehave = (_, response) => {
        response.end(text);
        return true;
      };
      expect((await fails()).code).toBe("IO_FAILED");
    },
  );

  test("names that lead elsewhere are no files", async () => {
    hub.files.clear();
    for (const path of [
      "../evil.gguf",
      "/etc/evil.gguf",
      "a/../../evil.gguf",
      "C:\\evil.gguf",
      "a\u0000.gguf",
      "nul.gguf",
      "x/.ssh/y.gguf",
    ])
      hub.files.set(path, { bytes: small, isLarge: true });
    expect((await fails()).message).toContain("neither a .gguf file nor");
  });

  test("the disk has no room", async () => {
    const free = 32 * 2 ** 20 + model.length - 1;
    const error = await fails({ freeBytes: async () => free });
    expect(error).toMatchObject({
      code: "IO_FAILED",
      message: expect.stringMatching(
        `needs ${free + 1} bytes more, 32 MiB of them to spare, but .* has room for ${free} bytes; make room`,
      ),
    });
    expect(hub.seen.filter(({ path }) => path.includes("/resolve/"))).toEqual([]);
  });

  test("an abort ends it at once and keeps what came", async () => {
    const controller = new AbortController();
    hub.misbehave = (_, __, { n }) => {
      if (n === 3) controller.abort();
      return n >= 3;
    };
    expect((await fails({ signal: controller.signal, connections: 1 })).code).toBe("ABORTED");
    hub.misbehave = null;
    const before = hub.seen.length;
    const pulled = await pull(repo, options());
    expect(readFileSync(pulled.path).equals(model)).toBe(true);
    expect(hub.seen.length - before).toBeLessThan(1 + Math.ceil(model.length / 32_768));
  });
});

test("two at once: one downloads, the other waits, and each byte comes once", async () => {
  const phases = new Set<string>();
  const both = await Promise.all([
    pull(repo, options({ onProgress: ({ phase }) => phases.add(phase) })),
    pull(repo, options({ onProgress: ({ phase }) => phases.add(phase) })),
  ]);
  for (const { path } of both) expect(readFileSync(path).equals(model)).toBe(true);
  expect(phases.has("waiting")).toBe(true);
  expect(hub.seen.filter(({ path }) => path.includes("/resolve/")).length).toBe(
    Math.ceil(model.length / 32_768),
  );
});

describe("the environment", () => {
  test("says where things are, as for Hugging Face's tools", async () => {
    writeFileSync(join(cacheDir, "token"), "hf_file\n");
    expect(await hubSettings({ HF_HOME: cacheDir })).toEqual({
      endpoint: "https://huggingface.co",
      cacheDir: join(cacheDir, "hub"),
      token: "hf_file",
      isOffline: false,
      stallMs: 20_000,
      followsRedirects: "here",
    });
    const all = {
      HF_ENDPOINT: "https://mirror.example/hf/",
      HF_HUB_CACHE: cacheDir,
      HF_TOKEN: "hf_env",
      HF_HUB_OFFLINE: "1",
    };
    expect(await hubSettings({ HF_HOME: cacheDir, ...all })).toMatchObject({
      endpoint: "https://mirror.example/hf",
      cacheDir,
      token: "hf_env",
      isOffline: true,
    });
  });

  test.each([{ HF_ENDPOINT: "ftp://x" }, { HF_TOKEN: "a b" }, { HF_HUB_DOWNLOAD_TIMEOUT: "-1" }])(
    "refuses %o",
    async (env) => {
      expect((await errorOf(hubSettings(env))).code).toBe("INVALID_ARGUMENT");
    },
  );
});

test("many who pull the same model at the same time have it whole, and leave nothing else", async () => {
  const pulled = await Promise.all(Array.from({ length: 8 }, () => pull(repo, options())));
  for (const { path } of pulled) expect(readFileSync(path).equals(model)).toBe(true);
  const names = readdirSync(cacheDir, { recursive: true, encoding: "utf8" });
  expect(names.filter((name) => /\.(new|bitnet-part|bitnet-lock)/.test(name))).toEqual([]);
});

test("what another process is just downloading stays when a file of the model is removed", async () => {
  await pull(repo, options());
  const [{ folder } = { folder: "" }] = await listCache(cacheDir);
  const blobs = join(folder, "blobs");
  const coming = "f".repeat(64);
  const lock = await acquireLock(join(blobs, `${coming}.bitnet-lock`));
  writeFileSync(join(blobs, `${coming}.bitnet-part`), "half");
  await removeFromCache(cacheDir, repo, { file: "model.gguf", revision: null });
  expect(readdirSync(blobs)).toContain(`${coming}.bitnet-part`);
  await lock?.release();
  await removeFromCache(cacheDir, repo, { file: null, revision: null });
  expect(existsSync(folder)).toBe(false);
});
