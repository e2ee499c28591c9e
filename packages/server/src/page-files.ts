/** The files of the chat page and the monitor's, and the headers that keep them to themselves. */
import { readFile } from "node:fs/promises";
import type { FastifyInstance } from "fastify";

/** Beside dist/ as beside src/; scripts are the built ones. */
const files: Readonly<Record<string, { place: string; type: string }>> = {
  "/page/style.css": { place: "../page/style.css", type: "text/css; charset=utf-8" },
  "/page/app.js": { place: "../dist/page/app.js", type: "text/javascript; charset=utf-8" },
  "/page/ask.js": { place: "../dist/page/ask.js", type: "text/javascript; charset=utf-8" },
  "/page/chat-view.js": { place: "../dist/page/chat-view.js", type: "text/javascript; charset=utf-8" },
  "/page/monitor.css": { place: "../page/monitor.css", type: "text/css; charset=utf-8" },
  "/page/monitor.js": { place: "../dist/page/monitor.js", type: "text/javascript; charset=utf-8" },
  "/page/monitor-data.js": { place: "../dist/page/monitor-data.js", type: "text/javascript; charset=utf-8" },
  "/page/chart.js": { place: "../dist/page/chart.js", type: "text/javascript; charset=utf-8" },
  "/page/conversations.js": {
    place: "../dist/page/conversations.js",
    type: "text/javascript; charset=utf-8",
  },
};

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
  for (const [path, { place, type }] of Object.entries(files))
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
