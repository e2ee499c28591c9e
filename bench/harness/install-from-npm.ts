/** Packages that are compared with and are no dependencies of this repository: installed where the dummy models are, without running their scripts. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";

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
  const npm = process.env.npm_execpath;
  const { status } = npm?.endsWith(".js")
    ? spawnSync(process.execPath, [npm, ...args], { stdio: ["ignore", 2, 2] })
    : spawnSync("npm", args, { stdio: ["ignore", 2, 2] });
  if (status !== 0 || !existsSync(entry)) throw new Error(`npm could not install ${packages.join(", ")}`);
}
