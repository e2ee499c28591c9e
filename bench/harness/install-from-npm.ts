/** Packages that are compared with and are no dependencies of this repository: installed where the dummy models are, without running their scripts. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";

export interface Wanted {
  folder: string;
  /** With their versions. */
  packages: readonly string[];
  /** The file that is there once they are installed. */
  entry: string;
}

/** @throws Error when npm cannot install them. */
export function installFromNpm({ folder, packages, entry }: Wanted, say: (line: string) => void): void {
  if (existsSync(entry)) return;
  say(`installing ${packages.join(", ")} into ${folder}`);
  mkdirSync(folder, { recursive: true });
  const flags = [
    "--ignore-scripts",
    "--no-save",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
  ];
  const omitted = ["--omit=optional", "--omit=peer"];
  const args = ["install", "--prefix", folder, ...flags, ...omitted, ...packages];
  if (!runNpm(args, folder) || !existsSync(entry))
    throw new Error(`npm could not install ${packages.join(", ")}`);
}

/**
 * The files of one package, and of nothing that it depends on: where that is hundreds of megabytes for another platform.
 * @throws Error when it cannot be had.
 */
export function unpackFromNpm(folder: string, packed: string, say: (line: string) => void): void {
  if (existsSync(folder)) return;
  say(`unpacking ${packed} into ${folder}`);
  const parent = dirname(folder);
  const making = join(parent, `${basename(folder)}.${process.pid}.part`);
  mkdirSync(making, { recursive: true });
  try {
    const isPacked = runNpm(["pack", packed, "--pack-destination", making, "--loglevel=error"], parent);
    const [tarball] = isPacked ? readdirSync(making) : [];
    const { status } = spawnSync("tar", ["-xzf", tarball ?? "", "--strip-components=1"], { cwd: making });
    if (status !== 0) throw new Error(`npm could not fetch ${packed}`);
    renameSync(making, folder);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}

function runNpm(args: readonly string[], cwd: string): boolean {
  const npm = process.env.npm_execpath;
  const stdio = ["ignore", 2, 2] as const;
  const { status } = npm?.endsWith(".js")
    ? spawnSync(process.execPath, [npm, ...args], { stdio: [...stdio], cwd })
    : spawnSync("npm", args, { stdio: [...stdio], cwd });
  return status === 0;
}
