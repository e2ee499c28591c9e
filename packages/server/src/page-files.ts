/** The files of the chat page and the monitor's, and the headers that keep them to themselves. */
import { readFile } from "node:fs/promises";
import type { FastifyInstance } from "fastify";

const scripts = [
  ...["app", "ask", "chat-view", "conversations", "copy-text", "message-text", "theme"],
  ...["monitor", "monitor-data", "chart"],
];

/** Beside dist/ as beside src/; scripts are the built ones. */
const files: readonly { path: string; place: string; type: string }[] = [
  ...["style.css", "monitor.css"].map((name) => ({
    ...{ path: `/page/${name}`, place: `../page/${name}`, type: "text/css; charset=utf-8" },
  })),
  ...scripts.map((name) => ({
    path: `/page/${name}.js`,
    place: `../dist/page/${name}.js`,
    type: "text/javascript; charset=utf-8",
  })),
];

const pageHeaders = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "cache-control": "no-cache",
};

/** Browsers get the page at "/"; tools that look for Ollama there get its answer. */
export function addPage(app: FastifyInstance): void {
  app.get("/", async (request, reply) => {
    if (!(request.headers.accept ?? "").includes("text/html"))
      return reply.type("text/plain").send("Ollama is running");
    return reply
      .headers(pageHeaders)
      .type("text/html; charset=utf-8")
      .send(await read("../page/index.html"));
  });
  app.get("/monitor", async (_request, reply) =>
    reply
      .headers(pageHeaders)
      .type("text/html; charset=utf-8")
      .send(await read("../page/monitor.html")),
  );
  for (const { path, place, type } of files)
    app.get(path, async (_request, reply) =>
      reply
        .headers(pageHeaders)
        .type(type)
        .send(await read(place)),
    );
}

function read(place: string): Promise<Buffer> {
  return readFile(new URL(place, import.meta.url));
}
