/**
 * The library in browsers as the tools of others bring it there, from the packed packages: the examples of Vite and webpack, esbuild, an import
 * map, an isolate of the edge (Next is in packed.slow.test.ts, where it is installed). Asks npm's registry for the tools, so that it runs only with BITNET_REQUIRE_ALL=1. Needs Debian's chromium.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { BitNet } from "bitnet.ts";
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { asked, hostedText, inlinePolicy, textAt } from "./hosted-app.ts";
import { createProject, makeTarballs, type PackedProject, root, tinyModel } from "./packed-project.ts";
import { isBrowserMissing, startBrowser } from "./web-page.ts";

const all = process.env.BITNET_REQUIRE_ALL === "1";
const node = process.execPath;
/** A page that writes its text without being asked; for tools without an example. */
const pageScript = (options: string) => `
  import { BitNet } from "bitnet.ts";
  const model = await BitNet.load("./tiny.gguf", { cache: false${options} });
  document.getElementById("text").textContent = await model.generate("Once upon a time", { maxTokens: 24, seed: 1 }).text;
  document.getElementById("text").dataset.done = model.info.backend;
`;
const pageHtml = (head: string) =>
  `<!doctype html><title>t</title><link rel="icon" href="data:,">${head}<p id="text"></p>`;

describe.skipIf(!all || isBrowserMissing())("in browsers", { timeout: 600_000 }, () => {
  let project: PackedProject;
  let browser: Browser;
  let expected: string;
  const installed = (...path: string[]) => join(project.folder, "node_modules", ...path);

  beforeAll(async () => {
    const model = await BitNet.load(tinyModel);
    expected = await model.generate(asked.prompt, asked.options).text;
    await model.dispose();
    project = createProject(makeTarballs());
    const webpack = ["webpack@5.113.0", "webpack-cli@7.3.1"];
    project.install("vite@8.3.8", ...webpack, "esbuild@0.28.2", "workerd@1.20261117.1");
    browser = await startBrowser();
  }, 900_000);
  afterAll(async () => {
    await browser?.close();
    project?.remove();
  });

  describe("the Vite example", () => {
    let app: string;
    beforeAll(() => {
      // In the project's own folder, where Vite expects an app to have its packages.
      app = project.folder;
      for (const name of ["index.html", "main.ts", "vite.config.ts"])
        cpSync(join(root, "examples", "vite", name), join(app, name));
    });

    it("built", async () => {
      await project.run(node, [installed("vite", "bin", "vite.js"), "build", app]);
      expect(await hostedText(browser, join(app, "dist"), { isExample: true })).toBe(expected);
    });

    it("as it is developed", async () => {
      const vite = spawn(
        node,
        [installed("vite", "bin", "vite.js"), app, "--port", "0", "--host", "127.0.0.1"],
        {
          cwd: project.folder,
          env: { ...process.env, NO_COLOR: "1" },
        },
      );
      try {
        expect(await textAt(browser, await addressIn(vite), { isExample: true })).toBe(expected);
      } finally {
        vite.kill();
      }
    });
  });

  it("Vite's build for servers leaves them outside and runs natively", async () => {
    const app = join(project.folder, "ssr-app");
    project.write(
      "ssr-app/entry.js",
      `import { BitNet } from "bitnet.ts";
       const model = await BitNet.load(${JSON.stringify(tinyModel)}, { backend: "native" });
       process.stdout.write(await model.generate("Once upon a time", { maxTokens: 24, seed: 1 }).text);
       await model.dispose();`,
    );
    await project.run(node, [installed("vite", "bin", "vite.js"), "build", app, "--ssr", "entry.js"]);
    const [built = ""] = readdirSync(join(app, "dist"));
    expect((await project.run(node, [join(app, "dist", built)])).stdout).toBe(expected);
  }, 120_000);

  it("the webpack example, built", async () => {
    const app = join(project.folder, "webpack-app");
    cpSync(join(root, "examples", "webpack"), app, { recursive: true });
    const cli = installed("webpack-cli", "bin", "cli.js");
    await project.run(node, [cli, "--config", join(app, "webpack.config.js")]);
    expect(await hostedText(browser, app, { isExample: true })).toBe(expected);
  });

  it("esbuild, with a worker from a factory", async () => {
    const app = join(project.folder, "esbuild-app");
    project.write(
      "esbuild-app/page.js",
      pageScript(`, worker: () => new Worker("./worker/worker.js", { type: "module" })`),
    );
    project.write("esbuild-app/index.html", pageHtml('<script type="module" src="./out/page.js"></script>'));
    cpSync(tinyModel, join(app, "tiny.gguf"));
    cpSync(installed("bitnet.ts", "worker"), join(app, "worker"), { recursive: true });
    const args = ["--bundle", "--format=esm", `--outdir=${join(app, "out")}`];
    await project.run(installed(".bin", "esbuild"), [
      join(app, "page.js"),
      "worker=bitnet.ts/worker",
      ...args,
    ]);
    expect(await hostedText(browser, app)).toBe(expected);
  });

  it("an import map, without any tool", async () => {
    const imports = {
      "bitnet.ts": "../node_modules/bitnet.ts/dist/index.browser.js",
      "@bitnet.ts/core/page": "../node_modules/@bitnet.ts/core/dist/index.page.js",
      "@bitnet.ts/core/base": "../node_modules/@bitnet.ts/core/dist/base/index.js",
    };
    const map = `<script type="importmap">${JSON.stringify({ imports })}</script>`;
    project.write("map-app/page.js", pageScript(""));
    project.write("map-app/index.html", pageHtml(`${map}<script type="module" src="./page.js"></script>`));
    cpSync(tinyModel, join(project.folder, "map-app", "tiny.gguf"));
    const place = { contentPolicy: inlinePolicy, path: "/map-app/" };
    expect(await hostedText(browser, project.folder, place)).toBe(expected);
  });

  it("an isolate of the edge runs the reference, since it compiles no WebAssembly by itself", async () => {
    project.write("edge/entry.mjs", edgeScript);
    project.write("edge/config.capnp", edgeConfig);
    cpSync(tinyModel, join(project.folder, "edge", "tiny.gguf"));
    const folder = join(project.folder, "edge");
    const args = [
      "--bundle",
      "--format=esm",
      "--conditions=workerd,worker,browser",
      "--external:./tiny.gguf",
    ];
    await project.run(installed(".bin", "esbuild"), [
      join(folder, "entry.mjs"),
      ...args,
      `--outfile=${join(folder, "out.mjs")}`,
    ]);
    const workerd = installed(
      "@cloudflare",
      `workerd-${process.platform}-${process.arch === "x64" ? "64" : "arm64"}`,
      "bin",
      "workerd",
    );
    const child = spawn(workerd, ["serve", "config.capnp", "--control-fd=3"], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    });
    try {
      const port = await listeningPort(child);
      const answer = await (await fetch(`http://127.0.0.1:${port}/`)).json();
      expect(answer).toMatchObject({ backend: "reference", text: expected });
      expect(answer).toHaveProperty("notices", [
        expect.stringMatching(/^bitnet: no WebGPU \(.+\), no WebAssembly /),
      ]);
    } finally {
      child.kill();
    }
  });

  it("a server may import it, and a page's bundle names nothing of Node", async () => {
    const conditions = ["--conditions=browser"];
    project.write("ssr.mjs", `import { BitNet } from "bitnet.ts"; console.log(typeof BitNet.load);`);
    const { stdout } = await project.run(node, [...conditions, "ssr.mjs"]);
    expect(stdout.trim()).toBe("function");
    const page = readFileSync(join(project.folder, "esbuild-app", "out", "page.js"), "utf8");
    const workers = ["worker.js", "wasm-worker.js", "grammar-worker.js"].map((name) =>
      readFileSync(installed("bitnet.ts", "worker", name), "utf8"),
    );
    for (const text of [page, ...workers]) {
      expect(text).not.toMatch(/["']node:/);
      expect(text).not.toMatch(/\beval\(|new Function\(/);
    }
  });
});

const edgeScript = `
  import { BitNet } from "bitnet.ts";
  import tiny from "./tiny.gguf";
  export default {
    async fetch() {
      const notices = [];
      const model = await BitNet.load(new Blob([tiny]), { onNotice: (line) => notices.push(line) });
      const { text } = await model.generate("Once upon a time", { maxTokens: 24, seed: 1 }).result;
      return Response.json({ backend: model.info.backend, text, notices });
    },
  };
`;
const edgeConfig = `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .edge)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const edge :Workerd.Worker = (
  modules = [(name = "main.mjs", esModule = embed "out.mjs"), (name = "tiny.gguf", data = embed "tiny.gguf")],
  compatibilityDate = "2026-11-01",
);
`;

/** What workerd says on the descriptor for its supervisor. */
function listeningPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = "";
    const control = child.stdio[3] as Readable;
    control.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      const [, port] = /"port":\s*(\d+)/.exec(said) ?? [];
      if (port !== undefined) resolve(Number(port));
    });
    child.on("close", () => reject(new Error(`workerd ended: ${said}`)));
  });
}

function addressIn(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        const [address] = /http:\/\/127\.0\.0\.1:\d+/.exec(said) ?? [];
        if (address !== undefined) resolve(address);
      });
    child.on("close", () => reject(new Error(`the server ended: ${said}`)));
  });
}
