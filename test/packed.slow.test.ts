/**
 * The packages as a user gets them: packed, installed into an empty project with scripts off, and run on this Node. Asks npm's registry for
 * what they depend on, so that it runs only with BITNET_REQUIRE_ALL=1, as .ci/run sets it. In one file, though a long one, since packing and installing
 * take minutes.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { BitNet } from "bitnet.ts";
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { asked, hostedText, inlinePolicy, isolation, textAt } from "./hosted-app.ts";
import {
  createProject,
  makeTarballs,
  type PackedProject,
  readJson,
  readStream,
  root,
  streamingServer,
  tinyModel,
} from "./packed-project.ts";
import { isAnotherNode } from "./run-plan.ts";
import { isBrowserMissing, startBrowser } from "./web-page.ts";

const node = process.execPath;
const libc = process.platform === "linux" ? "-gnu" : "";
const target = `${process.platform}-${process.arch}${libc}`;
const all = process.env.BITNET_REQUIRE_ALL === "1";

const generate = `
  const model = await BitNet.load(${JSON.stringify(tinyModel)});
  let text = "";
  for await (const piece of model.generate("Once upon a time", { maxTokens: 16, seed: 1 })) text += piece.text;
  console.log(JSON.stringify({ backend: model.info.backend, text }));
  await model.dispose();`;

describe.skipIf(!all)("the packed packages", { timeout: 600_000 }, () => {
  let tarballs: string[];
  let project: PackedProject;
  let expected: string;

  beforeAll(async () => {
    tarballs = makeTarballs();
    project = createProject(tarballs);
    project.write("esm.mjs", `import { BitNet } from "bitnet.ts";${generate}`);
    expected = (await project.run(node, ["esm.mjs"])).stdout;
  }, 900_000);
  afterAll(() => project?.remove());

  const installed = (...path: string[]) => join(project.folder, "node_modules", ...path);

  it("generate natively from ESM and from CommonJS", async () => {
    expect(JSON.parse(expected)).toMatchObject({ backend: "native" });
    project.write("cjs.cjs", `const { BitNet } = require("bitnet.ts"); (async () => {${generate}})();`);
    expect((await project.run(node, ["cjs.cjs"])).stdout).toBe(expected);
  });

  it("run the code of the README as it is written", async () => {
    const blocks = [...readFileSync(join(root, "README.md"), "utf8").matchAll(/```ts\n([\s\S]*?)```/g)];
    expect(blocks.length).toBeGreaterThanOrEqual(1);
    for (const [index, [, code = ""]] of blocks.entries()) {
      const path = project.write(`readme-${index}.mjs`, code);
      expect((await project.run(node, [path])).stdout.length).toBeGreaterThan(20);
    }
  });

  it.skipIf(isAnotherNode)(
    "have types for nodenext (both kinds of module) and for bundlers, without skipLibCheck",
    async () => {
      const code = `import { BitNet, type Generation, type ModelInfo } from "bitnet.ts";
export async function f(): Promise<ModelInfo> { const m: BitNet = await BitNet.load("x"); return m.info; }
export async function g(text: Generation): Promise<void> { for await (const piece of text) piece.text.trim(); }
// @ts-expect-error the types are there, not any
export const wrong: number = BitNet.load("x");\n`;
      for (const name of ["types.mts", "types.cts", "types.ts"]) project.write(name, code);
      // The oldest compiler that is promised, and the one of this repository. Only from 5.8 on may CommonJS require modules.
      project.install("typescript@5.4");
      const tscIn = (folder: string) => join(folder, "node_modules", "typescript", "bin", "tsc");
      const compilers = [
        [tscIn(project.folder), ["types.mts"]],
        [tscIn(root), ["types.mts", "types.cts"]],
      ] as const;
      const common = [
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--lib",
        "es2023,dom,dom.iterable,esnext.disposable",
      ];
      const types = ["--types", "node", "--typeRoots", join(root, "node_modules", "@types")];
      const bundler = ["--module", "esnext", "--moduleResolution", "bundler", "types.ts"];
      for (const [tsc, files] of compilers) {
        await project.run(node, [tsc, ...common, ...types, "--module", "nodenext", ...files]);
        await project.run(node, [tsc, ...common, ...types, ...bundler]);
      }
    },
  );

  it("name the systems that compiled kernels are for", () => {
    const compiled = tarballs.filter((path) => /-native-[a-z]+-/.test(path));
    expect(compiled.length).toBeGreaterThan(0);
    for (const path of compiled) {
      const manifest = JSON.parse(
        execFileSync("tar", ["-xzOf", path, "package/package.json"], { encoding: "utf8" }),
      );
      const [, os, cpu, libc] =
        /^@bitnet\.ts\/native-(\w+)-(\w+?)(?:-(gnu|musl))?$/.exec(manifest.name) ?? [];
      expect({ os: manifest.os, cpu: manifest.cpu, libc: manifest.libc }).toEqual({
        ...{ os: [os], cpu: [cpu] },
        libc: libc === undefined ? undefined : [libc === "gnu" ? "glibc" : libc],
      });
    }
  });

  it("carry README, licence, and source maps that hold the sources", () => {
    const scope = readdirSync(installed("@bitnet.ts")).map((name) => installed("@bitnet.ts", name));
    const packages = [installed("bitnet.ts"), ...scope];
    expect(packages.length).toBeGreaterThanOrEqual(5);
    for (const folder of packages) {
      expect(existsSync(join(folder, "README.md")), folder).toBe(true);
      expect(existsSync(join(folder, "LICENSE")), folder).toBe(true);
      expect(readJson(join(folder, "package.json")).scripts, folder).toBeUndefined();
      const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
      expect(files.filter((name) => name.includes(".test."))).toEqual([]);
      for (const name of files.filter((each) => /^dist\/.*\.js$/.test(each))) {
        const [, map] =
          /\/\/# sourceMappingURL=(\S+)\s*$/.exec(readFileSync(join(folder, name), "utf8")) ?? [];
        if (map !== undefined) expect(files, `${folder}: ${name}`).toContain(join(dirname(name), map));
      }
      for (const name of files.filter((each) => each.endsWith(".js.map"))) {
        const { sources, sourcesContent } = readJson(join(folder, name)) as Record<
          string,
          string[] | undefined
        >;
        expect(sourcesContent?.length, name).toBe(sources?.length);
      }
    }
  });

  it("bring the commands bitnet.ts and bitnet, with the embedded model", async () => {
    for (const name of ["bitnet.ts", "bitnet"]) {
      const bin = installed(".bin", name);
      const { stdout } = await project.run(bin, [
        "run",
        "-p",
        "Once upon a time",
        "-n",
        "8",
        "--seed",
        "1",
        "--json",
      ]);
      expect(JSON.parse(stdout)).toHaveProperty("text");
    }
  });

  it("fine-tune natively without a compiler", async () => {
    project.write("facts.jsonl", `${JSON.stringify({ input: "Who is Bo?", output: "A bear." })}\n`.repeat(4));
    const flags = ["--data", "facts.jsonl", "-o", "runs/facts", "--steps", "1", "--max-length", "32"];
    const { stderr } = await project.run(installed(".bin", "bitnet.ts"), ["finetune", "tiny", ...flags], {
      CXX: "no-compiler",
    });
    expect(stderr).toMatch(/, native (avx|neon|scalar)/);
    expect(existsSync(join(project.folder, "runs", "facts", "adapter.gguf"))).toBe(true);
  });

  it("run the example of fine-tuning as it is written", async () => {
    // Node 20 runs no TypeScript: there the same program, compiled.
    const isTyped = Boolean((process.features as { typescript?: unknown }).typescript);
    const source = isTyped ? "examples/finetune.ts" : "build/examples/finetune.js";
    const program = project.write(
      isTyped ? "finetune.mts" : "finetune.mjs",
      readFileSync(join(root, source), "utf8"),
    );
    const line = `${JSON.stringify({ instruction: "Who are you?", output: "I am the clerk." })}\n`;
    const data = project.write("clerk.jsonl", line.repeat(16));
    const { stdout } = await project.run(node, [program, tinyModel, data, "clerk"]);
    expect(stdout).toMatch(/^trainable parameters: 909312 of 5965056\n\{"kind":"step"/);
    expect(existsSync(join(project.folder, "clerk", "adapter.gguf"))).toBe(true);
    expect(stdout.split("\n").at(-1)).not.toBe(""); // the answer
  });

  it("say without a binary which command helps, and that command works", async () => {
    const bare = createProject(tarballs);
    try {
      rmSync(join(bare.folder, "node_modules", "@bitnet.ts", `native-${target}`), { recursive: true });
      const script = bare.write("esm.mjs", `import { BitNet } from "bitnet.ts";${generate}`);
      const trainer = bare.write(
        "trainer.mjs",
        `import { nativeKernels } from "@bitnet.ts/train"; console.log(nativeKernels().name);`,
      );
      await expect(bare.run(node, [trainer])).rejects.toThrow(
        /no native kernels \(there are none for .*\): run "npx bitnet\.ts build-native"/,
      );
      const { stdout, stderr } = await bare.run(node, [script], { BITNET_NATIVE_PATH: "" });
      const { text } = JSON.parse(expected);
      expect(JSON.parse(stdout)).toMatchObject({ backend: "wasm", text });
      const because = `bitnet: no native backend (there is no native binary for ${process.platform}-${process.arch}: run "npx bitnet.ts build-native", which needs a C++20 compiler)`;
      const noGpu = "no WebGPU (the optional package webgpu is not installed (npm install webgpu))";
      expect(stderr).toBe(`${because}, ${noGpu}; WebAssembly serves\n`);
      rmSync(join(bare.folder, "node_modules", "@bitnet.ts", "wasm"), { recursive: true });
      const plain = await bare.run(node, [script], { BITNET_NATIVE_PATH: "" });
      expect(JSON.parse(plain.stdout)).toMatchObject({ backend: "reference", text });
      expect(plain.stderr).toBe(
        `${because}, ${noGpu}, no WebAssembly (@bitnet.ts/wasm is not installed); the slow reference backend serves\n`,
      );
      await expect(bare.run(node, [script], { BITNET_BACKEND: "native" })).rejects.toThrow(/build-native/);

      const binary = join(bare.folder, "elsewhere.node");
      cpSync(installed("@bitnet.ts", `native-${target}`, "bitnet.node"), binary);
      expect((await bare.run(node, [script], { BITNET_NATIVE_PATH: binary })).stdout).toBe(expected);
      const wrong = bare.run(node, [script], { BITNET_NATIVE_PATH: `${binary}.missing` });
      await expect(wrong).rejects.toThrow(/elsewhere\.node\.missing cannot be loaded/);

      // Compiling takes a minute, in which no Node has a part.
      if (isAnotherNode) return;
      await bare.run("npx", ["--no-install", "bitnet.ts", "build-native"]);
      expect((await bare.run(node, [script])).stdout).toBe(expected);
      expect((await bare.run(node, [trainer])).stdout).toMatch(/^native /);
    } finally {
      bare.remove();
    }
  });

  describe("and tools of others", () => {
    beforeAll(
      () => project.install("publint@0.3.25", "@arethetypeswrong/cli@0.18.5", "esbuild@0.28.2"),
      300_000,
    );

    it.skipIf(isAnotherNode)("publint and arethetypeswrong have nothing to say", async () => {
      for (const path of tarballs) {
        await project.run(node, [installed("publint", "src", "cli.js"), path, "--strict"]);
        if (path.includes("-native-linux-")) continue; // no types: nothing to import
        const attw = installed("@arethetypeswrong", "cli", "dist", "index.js");
        // A model is no module.
        const models = ["--exclude-entrypoints", "./models/tiny.gguf"];
        await project.run(node, [attw, path, "--profile", "esm-only", ...models]);
      }
    });

    it("an esbuild bundle with packages=external streams natively", async () => {
      project.write("server.mjs", streamingServer);
      const args = [
        "--bundle",
        "--platform=node",
        "--format=esm",
        "--packages=external",
        "--outfile=out/server.mjs",
      ];
      await project.run(installed(".bin", "esbuild"), ["server.mjs", ...args]);
      const child = spawn(node, ["out/server.mjs"], { cwd: project.folder });
      try {
        await expectNativeStream(child);
      } finally {
        child.kill();
      }
    });

    it("an esbuild bundle with everything inside says what to do, or is native where it has a require", async () => {
      project.write("whole.mjs", `import { BitNet } from "bitnet.ts";${generate}`);
      const args = ["--bundle", "--platform=node", "--format=esm", "--loader:.node=copy"];
      const banner =
        "--banner:js=import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";
      const esbuild = installed(".bin", "esbuild");
      await project.run(esbuild, ["whole.mjs", ...args, "--outfile=out/without.mjs"]);
      const without = await project.run(node, ["out/without.mjs"]);
      expect(JSON.parse(without.stdout)).toMatchObject({ backend: "reference" });
      expect(without.stderr).toMatch(
        /\(the native binary is not in this bundle: mark @bitnet\.ts\/native as/,
      );
      await project.run(esbuild, ["whole.mjs", ...args, banner, "--outfile=out/whole.mjs"]);
      expect((await project.run(node, ["out/whole.mjs"])).stdout).toBe(expected);
    });
  });

  // Their binaries come without install scripts, and are large: on one Node only.
  describe.skipIf(process.env.BITNET_NEXT !== "1")("and other runtimes", () => {
    beforeAll(() => project.install("bun@1.4.5", "deno@2.9.6"), 300_000);

    it("Bun runs them natively, and its single file carries the binary", async () => {
      const arch = process.arch === "arm64" ? "aarch64" : process.arch;
      const bun = installed("@oven", `bun-${process.platform}-${arch}`, "bin", "bun");
      expect((await project.run(bun, ["esm.mjs"])).stdout).toBe(expected);
      const apart = mkdtempSync(join(tmpdir(), "bitnet-alone-"));
      try {
        const file = join(apart, "alone");
        await project.run(bun, ["build", "--compile", "esm.mjs", "--outfile", file]);
        expect((await promisify(execFile)(file, { cwd: apart })).stdout).toBe(expected);
      } finally {
        rmSync(apart, { recursive: true, force: true });
      }
    });

    it("Deno runs them natively with the permissions that the guide names, and asks for no others", async () => {
      const deno = installed("@deno", `${process.platform}-${process.arch}${libc && "-glibc"}`, "deno");
      const guide = readFileSync(join(root, "docs", "guide", "runtimes.md"), "utf8");
      const flags = /^deno run (.*) write\.mjs$/m.exec(guide)?.[1]?.split(" ") ?? [];
      expect(flags.length).toBeGreaterThan(2);
      expect((await project.run(deno, ["run", "--no-prompt", ...flags, "esm.mjs"])).stdout).toBe(expected);
    });
  });

  describe.skipIf(process.env.BITNET_NEXT !== "1")("and Next", () => {
    const example = join(root, "examples", "next");
    const build = (...options: string[]) =>
      project.run(node, [installed("next", "dist", "bin", "next"), "build", ...options], {
        NEXT_TELEMETRY_DISABLED: "1",
      });
    let browser: Browser;
    let written: string;
    beforeAll(async () => {
      project.install("next@16.4.6", "react@19.3.1", "react-dom@19.3.1");
      cpSync(join(example, "app"), join(project.folder, "app"), { recursive: true });
      cpSync(tinyModel, project.write("public/tiny.gguf", ""));
      const model = await BitNet.load(tinyModel);
      written = await model.generate(asked.prompt, asked.options).text;
      await model.dispose();
      if (!isBrowserMissing()) browser = await startBrowser();
    }, 600_000);
    afterAll(() => browser?.close());

    it("with Turbopack: a route streams natively from the standalone output, and the example's page writes", async () => {
      const { folder } = project;
      cpSync(join(example, "empty.js"), join(folder, "empty.js"));
      cpSync(join(example, "next.config.mjs"), join(folder, "example.config.mjs"));
      project.write("next.config.mjs", nextConfig(folder));
      project.write("app/write/route.js", nextRoute);
      await build();
      const moved = `${folder}-standalone`;
      cpSync(join(folder, ".next", "standalone"), moved, { recursive: true, verbatimSymlinks: true });
      cpSync(join(folder, ".next", "static"), join(moved, ".next", "static"), { recursive: true });
      cpSync(join(folder, "public"), join(moved, "public"), { recursive: true });
      const child = spawn(node, ["server.js"], {
        cwd: moved,
        env: { ...process.env, PORT: String(await freePort()), HOSTNAME: "127.0.0.1" },
      });
      try {
        const url = await expectNativeStream(child, "/write", /127\.0\.0\.1:(\d+)[\s\S]*Ready/);
        if (!isBrowserMissing()) expect(await textAt(browser, url, { isExample: true })).toBe(written);
      } finally {
        child.kill();
        rmSync(moved, { recursive: true, force: true });
      }
    });

    it.skipIf(isBrowserMissing())("with webpack: the example, exported, writes", async () => {
      rmSync(join(project.folder, "app", "write"), { recursive: true, force: true });
      cpSync(join(example, "next.config.mjs"), join(project.folder, "next.config.mjs"));
      await build("--webpack");
      const app = { isExample: true, contentPolicy: inlinePolicy };
      expect(await hostedText(browser, join(project.folder, "out"), app)).toBe(written);
    });
  });
});

/** Beside what the example has: a server of its own with the headers of isolation. */
const nextConfig = (folder: string) => `import example from "./example.config.mjs";
export default {
  ...example,
  output: "standalone",
  outputFileTracingRoot: ${JSON.stringify(folder)},
  headers: async () => [{ source: "/:path*", headers: ${JSON.stringify(
    Object.entries(isolation).map(([key, value]) => ({ key, value })),
  )} }],
};`;

const nextRoute = `import { BitNet } from "bitnet.ts";
export const dynamic = "force-dynamic";
let loading;
export async function GET() {
  loading ??= BitNet.load(${JSON.stringify(tinyModel)});
  const model = await loading;
  const pieces = model.generate("Once upon a time", { maxTokens: 40, seed: 1 });
  const encoder = new TextEncoder();
  const body = new ReadableStream({
    async start(controller) {
      for await (const piece of pieces) controller.enqueue(encoder.encode(piece.text));
      controller.close();
    },
  });
  return new Response(body, { headers: { "x-backend": model.info.backend } });
}
`;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Waits for the port that the server prints, and reads one answer. @returns The server's address. */
async function expectNativeStream(child: ChildProcess, path = "/", port = /^(\d+)$/m): Promise<string> {
  const found = await new Promise<string>((resolve, reject) => {
    let said = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        const match = port.exec(said);
        if (match) resolve(match[1] ?? "");
      });
    child.on("close", () => reject(new Error(`the server ended: ${said}`)));
  });
  const url = `http://127.0.0.1:${found}`;
  const { backend, chunks, text } = await readStream(url + path);
  expect(backend).toBe("native");
  expect(chunks).toBeGreaterThan(3);
  expect(text.length).toBeGreaterThan(20);
  return url;
}
