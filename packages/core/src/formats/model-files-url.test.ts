import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { openModelFiles } from "./model-files.ts";
import { blobRoot, urlRoot } from "./model-files-url.ts";
import { entry, errorOf, info, rawGguf, rawSafetensors, text, u32, u64 } from "./raw-bytes.test.fixture.ts";
import { readTensor } from "./tensor.ts";
import { openUrl } from "./url-source.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(handler: Handler): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A server of files that answers ranges as RFC 9110 wants; `seen` lists the ranges. */
async function serveFiles(files: Record<string, Uint8Array>, etag?: () => string) {
  const seen: string[] = [];
  const base = await serve((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "", "http://x").pathname);
    const file = files[path];
    seen.push(`${path} ${request.headers.range}`);
    if (file === undefined) {
      response.writeHead(404).end("no");
      return;
    }
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const [from, to] = [Number(first), Math.min(Number(last), file.length - 1)];
    if (from > to) {
      response.writeHead(416, { "content-range": `bytes */${file.length}` }).end();
      return;
    }
    const range = `bytes ${from}-${to}/${file.length}`;
    response.writeHead(206, { "content-range": range, ...(etag === undefined ? {} : { etag: etag() }) });
    response.end(file.subarray(from, to + 1));
  });
  return { base, seen };
}

const bigFile = Uint8Array.from({ length: 3 * 2 ** 20 + 5 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24);

describe("range requests", () => {
  test("small reads share a request, large ones get their own, and the bytes are right", async () => {
    const { base, seen } = await serveFiles({ "/f": bigFile });
    const source = await openUrl(`${base}/f?token=secret`);
    expect(source?.size).toBe(bigFile.length);
    expect(source?.name).toBe(`${base}/f`);
    const reads = [
      [0, 10],
      [100, 5000],
      [2 ** 20, 8],
      [2 ** 20 + 300_000, 1000],
      [5, 2 ** 20 + 9],
      [bigFile.length - 3, 3],
      [0, 0],
    ] as const;
    for (const [offset, length] of reads) {
      const bytes = await source?.read(offset, length);
      expect(Buffer.compare(bytes ?? new Uint8Array(0), bigFile.subarray(offset, offset + length))).toBe(0);
    }
    expect(seen).toEqual([
      "/f bytes=0-1048575",
      "/f bytes=1048576-2097151",
      "/f bytes=5-1048589",
      "/f bytes=3145730-3145732",
      "/f bytes=0-1048575",
    ]);
    expect((await errorOf(() => source?.read(bigFile.length, 1))).code).toBe("FORMAT_TRUNCATED");
  });

  test("an absent file is null, an empty one is empty", async () => {
    const { base } = await serveFiles({ "/empty": new Uint8Array(0) });
    expect(await openUrl(`${base}/none`)).toBeNull();
    expect((await openUrl(`${base}/empty`))?.size).toBe(0);
  });

  test("headers are sent with every request", async () => {
    const { base } = await serveFiles({ "/f": bigFile });
    const auth: unknown[] = [];
    servers[0]?.on("request", (request) => auth.push(request.headers.authorization));
    const source = await openUrl(`${base}/f`, { headers: { authorization: "Bearer x" } });
    await source?.read(2 ** 21, 4);
    expect(auth).toEqual(["Bearer x", "Bearer x"]);
  });

  test("a file that changes between requests is noticed", async () => {
    let version = 0;
    const { base } = await serveFiles({ "/f": bigFile }, () => `"v${version}"`);
    const source = await openUrl(`${base}/f`);
    await source?.read(2 ** 20, 4);
    version = 1;
    const error = await errorOf(() => source?.read(2 ** 21, 4));
    expect(error.code).toBe("IO_FAILED");
    expect(error.message).toMatch(/the file changed while it was being read/);
  });
});

describe("servers that misbehave", () => {
  test("one that ignores ranges: small files are read whole", async () => {
    const base = await serve((_, response) => response.end(bigFile));
    const source = await openUrl(`${base}/f`);
    expect(source?.size).toBe(bigFile.length);
    expect(Buffer.from((await source?.read(7, 100)) ?? []).equals(bigFile.subarray(7, 107))).toBe(true);
  });

  test("one that ignores ranges: large files are refused, announced or not", async () => {
    const announced = await serve((_, response) => {
      response.writeHead(200, { "content-length": 2 ** 27 });
      response.write(new Uint8Array(10));
    });
    expect((await errorOf(() => openUrl(announced))).message).toMatch(
      /ignores range requests and the file is larger/,
    );
    const endless = await serve((_, response) => {
      const chunk = new Uint8Array(2 ** 22);
      const more = () => response.write(chunk, (error) => (error ? undefined : more()));
      response.on("error", () => {});
      more();
    });
    expect((await errorOf(() => openUrl(endless))).message).toMatch(/ignores range requests/);
  });

  const partial = (headers: Record<string, string>, body: string): Handler => {
    return (_, response) => response.writeHead(206, headers).end(body);
  };
  const cases: Record<string, [Handler, RegExp]> = {
    "no Content-Range": [partial({}, "abc"), /Content-Range: ", expected first-last\/size/],
    "an unknown size": [partial({ "content-range": "bytes 0-2/*" }, "abc"), /expected first-last\/size/],
    "another range": [
      partial({ "content-range": "bytes 1-3/4" }, "abc"),
      /was asked for bytes 0-3 and sent bytes 1-3/,
    ],
    "more bytes than the range": [
      partial({ "content-range": "bytes 0-2/3" }, "abcdef"),
      /sent more than the 3 bytes/,
    ],
    "fewer bytes than the range": [
      partial({ "content-range": "bytes 0-2/3" }, "ab"),
      /broke off after 2 of 3 bytes/,
    ],
    "compressed ranges": [
      partial({ "content-range": "bytes 0-2/3", "content-encoding": "x-odd" }, "abc"),
      /compresses ranges \(x-odd\)/,
    ],
    "an error": [(_, response) => response.writeHead(503).end(), /answered 503/],
    "416 for a file that has bytes": [(_, response) => response.writeHead(416).end(), /answered 416/],
    "a broken connection": [(request) => request.socket.destroy(), /the request failed/],
    "a connection that breaks in the body": [
      (request, response) => {
        response.writeHead(206, { "content-range": "bytes 0-9/10", "content-length": 10 });
        response.write("abc", () => request.socket.destroy());
      },
      /the request failed/,
    ],
  };
  test.each(Object.entries(cases))("%s", async (_, [handler, message]) => {
    const error = await errorOf(async () => openUrl(await serve(handler)));
    expect(error.message).toMatch(message);
    expect(error.code).toBe("IO_FAILED");
  });

  test("no server at all", async () => {
    const base = await serve(() => {});
    const server = servers.pop();
    await new Promise((resolve) => server?.close(resolve));
    expect((await errorOf(() => openUrl(base))).code).toBe("IO_FAILED");
  });

  test("one that later sends another range", async () => {
    const base = await serve((_, response) => {
      response.writeHead(206, { "content-range": `bytes 0-1048575/${bigFile.length}` });
      response.end(bigFile.subarray(0, 2 ** 20));
    });
    const source = await openUrl(base);
    const error = await errorOf(() => source?.read(2 ** 21, 1));
    expect(error.message).toMatch(/was asked for bytes 2097152-3145727 and sent bytes 0-1048575/);
  });

  test("one that later answers with the whole file", async () => {
    let requests = 0;
    const base = await serve((_, response) => {
      requests++;
      if (requests > 1) {
        response.end(bigFile);
      } else {
        response.writeHead(206, { "content-range": `bytes 0-1048575/${bigFile.length}` });
        response.end(bigFile.subarray(0, 2 ** 20));
      }
    });
    const source = await openUrl(base);
    expect((await errorOf(() => source?.read(2 ** 21, 1))).message).toMatch(
      /it changed while it was being read/,
    );
  });

  test.each(["ftp://x/y", "file:///etc/passwd", "not a url"])("%s is no address", async (address) => {
    expect((await errorOf(() => openUrl(address))).code).toBe("INVALID_ARGUMENT");
    expect((await errorOf(() => urlRoot(`${address}.gguf`))).code).toBe("INVALID_ARGUMENT");
  });

  test("an aborted signal ends a request, before and during", async () => {
    const aborted = AbortSignal.abort();
    expect((await errorOf(() => openUrl("http://127.0.0.1:1/x", { signal: aborted }))).code).toBe("ABORTED");
    const controller = new AbortController();
    const base = await serve((_, response) => {
      response.writeHead(206, { "content-range": "bytes 0-9/10" });
      response.write("abc", () => controller.abort());
    });
    expect((await errorOf(() => openUrl(base, { signal: controller.signal }))).code).toBe("ABORTED");
  });
});

describe("models", () => {
  const words = Array.from({ length: 30_000 }, (_, i) => text(`word ${i}`)).flat();
  const gguf = rawGguf({
    metadata: [entry("tokens", 9, [...u32(8), ...u64(30_000), ...words])],
    tensors: [info("a", [8], 0, 0)],
    dataBytes: 32,
  });

  test("a GGUF file: its header takes one request", async () => {
    const { base, seen } = await serveFiles({ "/m.gguf": gguf });
    const files = await openModelFiles(await urlRoot(`${base}/m.gguf`));
    expect(files.kind === "gguf" && files.gguf.tensors.has("a")).toBe(true);
    expect(seen.length).toBe(1);
    expect((await errorOf(() => urlRoot(`${base}/none.gguf`))).code).toBe("FILE_NOT_FOUND");
  });

  test("a Hugging Face folder, with shards and a query", async () => {
    const shard = (name: string) =>
      rawSafetensors(`{"${name}":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8);
    const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
    const { base, seen } = await serveFiles({
      "/repo/main/config.json": json({ a: 1 }),
      "/repo/main/tokenizer.json": json({}),
      "/repo/main/model.safetensors.index.json": json({ weight_map: { x: "1 of 2", y: "2 of 2" } }),
      "/repo/main/1 of 2": shard("x"),
      "/repo/main/2 of 2": shard("y"),
    });
    const files = await openModelFiles(await urlRoot(`${base}/repo/main?key=1`));
    if (files.kind !== "hf") throw new Error("expected a folder");
    expect(files.config).toEqual({ a: 1 });
    expect([...files.tensors.keys()]).toEqual(["x", "y"]);
    expect(seen.some((line) => line.startsWith("/repo/main/generation_config.json"))).toBe(true);
    await files.close();
  });

  test("a Blob", async () => {
    const files = await openModelFiles(blobRoot(new Blob([gguf]), "m.gguf"));
    if (files.kind !== "gguf") throw new Error("expected a GGUF file");
    const tensor = files.gguf.tensors.get("a");
    expect(tensor && Buffer.from(await readTensor(tensor)).equals(gguf.subarray(-32))).toBe(true);
    expect(tensor?.source.name).toBe("m.gguf");
  });
});
