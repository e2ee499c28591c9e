/** Bytes on a connection that no client would send, or hardly any: what comes before a body is looked at. */
import { connect } from "node:net";

/** A number in [0, 1). */
type Random = () => number;

const chat = JSON.stringify({ messages: [{ role: "user", content: "Hi" }], max_tokens: 1, model: "tiny" });

function pick<T>(random: Random, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)] as T;
}

function post(path: string, body: string, headers: readonly string[] = [], version = "1.1"): string {
  const head = [`POST ${path} HTTP/${version}`, "Host: localhost", ...headers];
  if (!headers.some((each) => /^(content-length|transfer-encoding):/i.test(each)))
    head.push(`Content-Length: ${Buffer.byteLength(body)}`);
  return `${head.join("\r\n")}\r\n\r\n${body}`;
}

const get = (path: string, headers: readonly string[] = [], version = "1.1") =>
  `${[`GET ${path} HTTP/${version}`, "Host: localhost", ...headers].join("\r\n")}\r\n\r\n`;

const chatPaths = ["/v1/chat/completions", "/v1/messages", "/api/chat", "/completion", "/v1/files"];
const chunks = (random: Random, body: string) => {
  const size = pick(random, [1, 3, 7, 1000]);
  let text = "";
  for (let at = 0; at < body.length; at += size) {
    const piece = body.slice(at, at + size);
    text += `${piece.length.toString(16)}${pick(random, ["", ";x=1", `;${"y".repeat(50)}`, " "])}\r\n${piece}\r\n`;
  }
  return `${text}0\r\n${pick(random, ["", "x-trailer: 1\r\n"])}\r\n`;
};

type Kind = (random: Random) => string;

const kinds: Record<string, Kind> = {
  "many headers": (r) =>
    get(
      pick(r, ["/v1/models", "/health/live"]),
      Array.from({ length: pick(r, [90, 500, 2500]) }, (_, i) => `x-${i}: ${i}`),
    ),
  "a long header": (r) =>
    get("/v1/models", [
      `${pick(r, ["cookie", "authorization", "x-api-key", "host"])}: ${"y".repeat(pick(r, [8000, 16_000, 100_000]))}`,
    ]),
  "two lengths": (r) =>
    post(pick(r, chatPaths), chat, [
      `Content-Length: ${chat.length}`,
      `Content-Length: ${pick(r, [chat.length, 1, 0, 1e9])}`,
    ]),
  "a wrong length": (r) =>
    post(pick(r, chatPaths), chat, [
      `Content-Length: ${pick(r, ["-1", "x", "1e3", "0x10", "99999999999999999999", " ", "+5", "5, 5"])}`,
    ]),
  "too short": (r) =>
    post(pick(r, chatPaths), chat, [`Content-Length: ${chat.length + Math.floor(1 + r() * 1000)}`]),
  "too long": (r) => post(pick(r, chatPaths), chat, [`Content-Length: ${Math.floor(r() * chat.length)}`]),
  chunked: (r) => post(pick(r, chatPaths), chunks(r, chat), ["Transfer-Encoding: chunked"]),
  "chunks of nonsense": (r) =>
    post(
      pick(r, chatPaths),
      pick(r, [
        "zz\r\n",
        "-1\r\n",
        "ffffffffffffffff\r\n",
        "5\r\nab\r\n",
        "0\r\n",
        "\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
      ]),
      ["Transfer-Encoding: chunked"],
    ),
  "length and chunks": (r) =>
    post(pick(r, chatPaths), chunks(r, chat), [
      "Transfer-Encoding: chunked",
      `Content-Length: ${chat.length}`,
    ]),
  "another encoding": (r) =>
    post(pick(r, chatPaths), chat, [
      `Transfer-Encoding: ${pick(r, ["gzip", "chunked, chunked", "identity", "xchunked", "chunked, gzip"])}`,
    ]),
  "content encoding": (r) =>
    post(pick(r, chatPaths), chat, [
      `Content-Encoding: ${pick(r, ["gzip", "br", "nonsense"])}`,
      `Content-Length: ${chat.length}`,
    ]),
  "an old version": (r) =>
    pick(r, [post, (path: string) => get(path)])(
      pick(r, chatPaths),
      chat,
      pick(r, [[], ["Connection: keep-alive"]]),
      pick(r, ["1.0", "0.9", "2.0", "1.2", "9.9", "x"]),
    ),
  "no host": (r) => `GET ${pick(r, ["/v1/models", "/", "/health/live"])} HTTP/1.1\r\n\r\n`,
  "strange hosts": (r) =>
    `GET /v1/models HTTP/1.1\r\nHost: ${pick(r, ["[", "[::1", "::::", "a b", "localhost:99999", "localhost@evil.example", "\x80", "127.0.0.1:80:80", "%00"])}\r\n\r\n`,
  "a long address": (r) => get(`/v1/models/${"a".repeat(pick(r, [300, 8000, 15_000, 100_000]))}`),
  percents: (r) =>
    get(
      `${pick(r, ["/v1/models/", "/v1/files/", "/v1/responses/", "/v1/batches/", "/", "/monitor/history?hours=", "/v1/files?after="])}${Array.from({ length: 1 + Math.floor(r() * 6) }, () => pick(r, ["%", "%0", "%zz", "%00", "%2e%2e%2f", "%c0%af", "%ff", "%25", "%u0041", "..;/", "//", "\\", "?", "#", "%0d%0aX: y", "%F0%9F"])).join("")}`,
    ),
  "an absolute address": (r) =>
    get(
      pick(r, [
        "http://evil.example/v1/models",
        "http://localhost/v1/models",
        "//v1/models",
        "*",
        "",
        "?",
        "http://",
        "file:///etc/passwd",
      ]),
    ),
  upgrade: (r) =>
    get(pick(r, ["/v1/realtime", "/", "/v1/models", "/v1/chat/completions"]), [
      "Connection: Upgrade",
      `Upgrade: ${pick(r, ["websocket", "h2c", "TLS/1.0", "x"])}`,
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "HTTP2-Settings: AAMAAABk",
    ]),
  expect: (r) =>
    post(pick(r, chatPaths), pick(r, [chat, ""]), [
      `Expect: ${pick(r, ["100-continue", "100-Continue", "200-ok", "x"])}`,
      `Content-Length: ${chat.length}`,
    ]),
  "another method": (r) =>
    `${pick(r, ["CONNECT", "TRACE", "PATCH", "PROPFIND", "OPTIONS", "HEAD", "get", "X", "M-SEARCH", "PRI"])} ${pick(r, ["/v1/models", "*", "localhost:80", "/v1/chat/completions"])} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  "line ends": (r) => get("/v1/models").replaceAll("\r\n", pick(r, ["\n", "\r", "\n\r", "\r\r\n"])),
  "folded and broken headers": (r) =>
    get("/v1/models", [
      pick(r, [
        "x: a\r\n b",
        "no colon",
        ": empty",
        "x y: z",
        "x\0: y",
        "x: \0",
        "x: \x7f",
        "\x80: y",
        "x:\ty",
        "Origin: null",
        "Origin: \x01",
        "Range: bytes=0-",
        "If-Modified-Since: x",
        "traceparent: 00-zz",
        "x-forwarded-for: 1, 2, \x80",
        "accept: \xff",
      ]),
    ]),
  "another protocol": (r) =>
    pick(r, [
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
      "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
      "EHLO x\r\n",
      "\0\0\0\0",
      "\r\n\r\n\r\n",
      "*1\r\n$4\r\nPING\r\n",
      "GET /\r\n",
      "{}",
    ]),
  "a cut request": (r) => {
    const whole = post(pick(r, chatPaths), chat);
    return whole.slice(0, Math.floor(r() * whole.length));
  },
  "noise in a request": (r) => {
    const whole = post(pick(r, chatPaths), chat).split("");
    for (let i = 0; i < 3; i++)
      whole[Math.floor(r() * whole.length)] = String.fromCharCode(Math.floor(r() * 256));
    return whole.join("");
  },
  "several at once": (r) =>
    Array.from({ length: 2 + Math.floor(r() * 8) }, () =>
      pick(r, [
        get("/health/live"),
        get("/nowhere"),
        post("/v1/chat/completions", chat),
        post("/tokenize", '{"content":"x"}'),
        post("/v1/messages", "{"),
        get("/v1/models"),
      ]),
    ).join(""),
};

export const httpKinds: readonly string[] = Object.keys(kinds);

export function hostileHttp(kind: string, random: Random): Buffer {
  const text = kinds[kind]?.(random) ?? "";
  return Buffer.from(text, "latin1");
}

export interface RawAnswer {
  /** Of every answer on the connection, those that only announce one included. */
  readonly statuses: readonly number[];
  readonly text: string;
}

/** Says goodbye after the requests before it, if they are whole. */
const goodbye = "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/**
 * Sends bytes, and waits until the server has closed. Where it waits for more, it is told after a while that there is none, upon which it
 * ends what it was about.
 * @param ending How the client ends: with one more request that says so, by leaving at once, or not at all.
 * @throws Error when it has not closed in time.
 */
export function sendRaw(
  port: number,
  bytes: Buffer,
  {
    ending = "goodbye",
    patienceMs = 60_000,
  }: { ending?: "goodbye" | "cut" | "none"; patienceMs?: number } = {},
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    let text = "";
    const patience = setTimeout(() => {
      socket.destroy();
      reject(new Error(`the connection stands open; so far: ${text.slice(0, 200)}`));
    }, patienceMs);
    socket.setEncoding("latin1").on("data", (piece: string) => {
      text += piece;
    });
    socket.on("error", () => {}); // reset: closed follows
    const noMore = setTimeout(() => socket.end(), 1000);
    socket.on("close", () => {
      clearTimeout(patience);
      clearTimeout(noMore);
      const statuses = [...text.matchAll(/HTTP\/1\.[01] (\d{3}) /g)].map(([, status]) => Number(status));
      resolve({ statuses, text });
    });
    socket.on("end", () => socket.end());
    if (ending === "cut") socket.end(bytes);
    else socket.write(ending === "none" ? bytes : Buffer.concat([bytes, Buffer.from(goodbye)]));
  });
}
