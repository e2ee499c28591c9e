/**
 * Remembers which models clients have brought, a small file each, so that a server which was ended, or killed, serves them again. A file is
 * written beside its place and renamed; servers that share a folder do not meet. Knows nothing of hubs.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../store/write-durably.ts";

export interface PulledModel {
  /** As it is asked for. */
  readonly name: string;
  /** Of the hub: `owner/name`. */
  readonly repo: string;
  /** Where its files lie. */
  readonly path: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export class PulledModels {
  readonly #folder: string;

  /** @param dataFolder Of the server. */
  constructor(dataFolder: string) {
    this.#folder = join(dataFolder, "pulled");
  }

  /** In the order in which they came; what cannot be read is left out. */
  async all(): Promise<PulledModel[]> {
    const names = await readdir(this.#folder).catch(() => [] as string[]);
    const files = names.filter((name) => name.endsWith(".json"));
    const read = await Promise.all(files.map((name) => readRecord(join(this.#folder, name))));
    return read.filter((model) => model !== null).sort((a, b) => a.at - b.at);
  }

  async keep(model: PulledModel): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const part = join(this.#folder, `.${randomBytes(8).toString("hex")}.part`);
    await writeDurably(part, JSON.stringify(model));
    await rename(part, this.#pathOf(model.name));
  }

  async forget(name: string): Promise<void> {
    await rm(this.#pathOf(name), { force: true });
  }

  /** Names are clients' texts; files are not called by them. */
  #pathOf(name: string): string {
    return join(this.#folder, `${createHash("sha256").update(name).digest("hex").slice(0, 32)}.json`);
  }
}

async function readRecord(file: string): Promise<PulledModel | null> {
  try {
    const { name, repo, path, at } = JSON.parse(await readFile(file, "utf8")) as Partial<PulledModel>;
    const isWhole = [name, repo, path].every((each) => typeof each === "string") && typeof at === "number";
    return isWhole ? ({ name, repo, path, at } as PulledModel) : null;
  } catch {
    return null;
  }
}
