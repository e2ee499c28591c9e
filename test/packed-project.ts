/** An empty project into which the tarballs of `npm run pack` are installed as a user's npm would, without any install script. */
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const root = fileURLToPath(new URL("..", import.meta.url));

export interface PackedProject {
  folder: string;
  write(name: string, text: string): string;
  /** Standard output and error of a program in the project, with the variables added. */
  run(
    program: string,
    args: readonly string[],
    env?: NodeJS.ProcessEnv,
  ): Promise<{ stdout: string; stderr: string }>;
  install(...packages: readonly string[]): void;
  remove(): void;
}

/** Makes the tarballs anew; their paths. */
export function makeTarballs(): string[] {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-tarballs-"));
  execFileSync(process.execPath, [join(root, "build/scripts/pack.js"), folder], { stdio: "pipe" });
  return readdirSync(folder).map((name) => join(folder, name));
}

/** Only `bitnet.ts` is asked for; the overrides stand for a registry that has all of them. */
export function createProject(tarballs: readonly string[]): PackedProject {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-project-"));
  const specs = Object.fromEntries(
    tarballs.map((path) => {
      const manifest = execFileSync("tar", ["-xzOf", path, "package/package.json"], { encoding: "utf8" });
      return [(JSON.parse(manifest) as { name: string }).name, `file:${path}`];
    }),
  );
  const { "bitnet.ts": facade, ...overrides } = specs;
  const manifest = { private: true, dependencies: { "bitnet.ts": facade }, overrides };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  const project: PackedProject = {
    folder,
    write(name, text) {
      const path = join(folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
      return path;
    },
    run(program, args, env = {}) {
      return promisify(execFile)(program, [...args], { cwd: folder, env: { ...process.env, ...env } });
    },
    install(...packages) {
      const args = [
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        // What the packages depend on runs on every Node that they promise; the tools of the tests may not.
        ...(packages.length === 0 ? ["--engine-strict"] : packages),
      ];
      execFileSync("npm", args, { cwd: folder, stdio: "pipe" });
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
  project.install();
  return project;
}

export const tinyModel = join(root, "models", "tiny.gguf");

/** A Node server of one route that streams a text, and says in headers on which backend. */
export const streamingServer = `
import { createServer } from "node:http";
import { BitNet } from "bitnet.ts";
const model = await BitNet.load(${JSON.stringify(tinyModel)});
const server = createServer(async (request, response) => {
  response.writeHead(200, { "x-backend": model.info.backend });
  for await (const piece of model.generate("Once upon a time", { maxTokens: 40, seed: 1 })) response.write(piece.text);
  response.end();
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

/** What a client sees of a stream. */
export async function readStream(
  url: string,
): Promise<{ backend: string | null; chunks: number; text: string }> {
  const response = await fetch(url);
  const decoder = new TextDecoder();
  let chunks = 0;
  let text = "";
  for await (const chunk of response.body ?? []) {
    chunks++;
    text += decoder.decode(chunk, { stream: true });
  }
  return { backend: response.headers.get("x-backend"), chunks, text };
}

export function readJson(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
}
