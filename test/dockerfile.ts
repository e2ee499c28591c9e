/**
 * Follows a Dockerfile without a container runtime: every stage is a clean folder that stands for its root. COPY copies, RUN runs with the
 * stage's working folder and variables, on this machine's programs. What only a runtime can do (other roots, users) is left out, so RUN must
 * use paths relative to WORKDIR.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";

export interface Stage {
  name: string | null;
  image: string;
  /** The folder that stands for its root. */
  root: string;
  workdir: string;
  env: Record<string, string>;
  user: string | null;
  entrypoint: string[];
  cmd: string[];
}

interface StepsOptions {
  /** Folder of the build's context. */
  context: string;
  /** A clean folder for the stages. */
  scratch: string;
  /** Stands in for what a stage would do, by its name; it fills the stage's root. */
  replaced?: Record<string, (root: string) => void>;
}

/** @returns The last stage. */
export function followDockerfile(text: string, { context, scratch, replaced = {} }: StepsOptions): Stage {
  const stages: Stage[] = [];
  for (const line of text.replaceAll(/\\\n\s*/g, " ").split("\n")) {
    const [, word = "", rest = ""] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    const stage = stages.at(-1);
    if (word === "FROM") {
      const [image = "", , name = null] = rest.split(" ");
      const root = join(scratch, `stage${stages.length}`);
      mkdirSync(root);
      if (name !== null) replaced[name]?.(root);
      stages.push({ name, image, root, workdir: "/", env: {}, user: null, entrypoint: [], cmd: [] });
    } else if (stage !== undefined && !(stage.name !== null && stage.name in replaced)) {
      follow(word, rest, stage, { stages, context });
    }
  }
  const last = stages.at(-1);
  if (last === undefined) throw new Error("a Dockerfile without a stage");
  return last;
}

function follow(word: string, rest: string, stage: Stage, from: { stages: Stage[]; context: string }): void {
  const inside = (path: string) => join(stage.root, resolve(stage.workdir, path));
  if (word === "WORKDIR") {
    stage.workdir = resolve(stage.workdir, rest);
    mkdirSync(inside("."), { recursive: true });
  } else if (word === "ENV") {
    for (const pair of rest.split(" ")) {
      const [name = "", value = ""] = pair.split("=");
      stage.env[name] = value;
    }
  } else if (word === "COPY") copy(rest, inside, from);
  else if (word === "RUN")
    execFileSync("sh", ["-c", rest], {
      cwd: inside("."),
      env: { ...process.env, ...stage.env },
      stdio: ["ignore", "ignore", "inherit"],
    });
  else if (word === "USER") stage.user = rest;
  else if (word === "ENTRYPOINT") stage.entrypoint = JSON.parse(rest) as string[];
  else if (word === "CMD") stage.cmd = JSON.parse(rest) as string[];
  else if (!["", "EXPOSE", "HEALTHCHECK"].includes(word))
    throw new Error(`this follower does not know ${word}`);
}

function copy(
  rest: string,
  inside: (path: string) => string,
  { stages, context }: { stages: Stage[]; context: string },
): void {
  const words = rest.split(" ");
  const stageName = words.find((each) => each.startsWith("--from="))?.slice("--from=".length);
  const [source = "", target = ""] = words.filter((each) => !each.startsWith("--"));
  const root = stageName === undefined ? context : stages.find(({ name }) => name === stageName)?.root;
  if (root === undefined) throw new Error(`COPY from an unknown stage: ${rest}`);
  const path = join(root, source);
  if (!existsSync(path)) throw new Error(`COPY of what is not there: ${rest}`);
  const isFolder = statSync(path).isDirectory();
  // A file goes into a folder whose name ends in a slash.
  const to = !isFolder && target.endsWith("/") ? join(inside(target), basename(source)) : inside(target);
  cpSync(path, to, { recursive: true, verbatimSymlinks: true });
}
