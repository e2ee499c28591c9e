/**
 * Brings models from the hub for clients, where the operator allows it: by name only, never by address, one at a time, within a limit of
 * disk. Clients that ask for the same one watch the same download, which ends when the last of them has left; what is there is gone on with the
 * next time. Knows nothing of dialects.
 */
import { access } from "node:fs/promises";
import { BitNetError } from "@bitnet.ts/core";
import {
  type ChosenFile,
  hubEndpoint,
  hubSettings,
  listCache,
  parseHubReference,
  pull,
  removeFromCache,
  sourceOfAlias,
} from "bitnet.ts/hub";
import { ServeError } from "../errors.ts";
import type { Models } from "../models.ts";
import type { PulledModels } from "./pulled-models.ts";
import type { PullSettings } from "./settings.ts";

/** Where a download is: in a file, or verifying it. */
export interface PullStatus {
  readonly phase: "waiting" | "downloading" | "verifying";
  readonly file: ChosenFile;
  readonly doneBytes: number;
}

interface Running {
  readonly name: string;
  readonly controller: AbortController;
  readonly watchers: Set<(status: PullStatus) => void>;
  readonly ended: Promise<void>;
}

interface Place {
  /** As it is asked for, here and afterwards. */
  readonly name: string;
  /** What the hub is asked for. */
  readonly source: string;
  readonly repo: string;
  readonly file: string | null;
  readonly revision: string | null;
}

/** Models that clients have brought may fill no more than this. */
const mostModels = 64;
/** As long as Ollama keeps one in memory that nobody uses. */
const keepAliveMs = 300_000;

export class Pulls {
  readonly #settings: PullSettings;
  readonly #models: Models;
  /** Null: they are forgotten when the server ends. */
  readonly #kept: PulledModels | null;
  readonly #log: (line: string) => void;
  #running: Running | null = null;

  constructor(
    settings: PullSettings,
    models: Models,
    { kept, log }: { kept: PulledModels | null; log: (line: string) => void },
  ) {
    this.#settings = settings;
    this.#models = models;
    this.#kept = kept;
    this.#log = log;
  }

  /** Serves again what was brought before, as far as it is still there and allowed. */
  async restore(): Promise<void> {
    for (const { name, repo, path } of (await this.#kept?.all()) ?? []) {
      if (this.#models.nRemovable >= mostModels) return;
      const isThere = await access(path).then(
        () => true,
        () => false,
      );
      if (isThere && this.#isAllowed(repo)) this.#models.add(name, path, keepAliveMs);
      else this.#log(`pull: ${repo} is ${isThere ? "no longer allowed" : "not in the cache any more"}`);
    }
  }

  #isAllowed(repo: string): boolean {
    return this.#settings.allowed.some((pattern) => matches(pattern, repo));
  }

  /**
   * Brings a model, which can then be asked for by this name. One that is served already is there.
   * @throws ServeError INVALID_INPUT, FORBIDDEN, MODEL_NOT_FOUND, TOO_LARGE, QUEUE_FULL, HUB_FAILED; what the signal says.
   */
  async pull(
    asked: string,
    { signal, onStatus }: { signal: AbortSignal; onStatus: (status: PullStatus) => void },
  ): Promise<void> {
    if (this.#models.has(plainName(asked))) return;
    const place = await this.#allowed(asked);
    // One that everybody has left ends by itself; then it is gone on with.
    while (this.#running?.controller.signal.aborted) await this.#running.ended.catch(() => {});
    if (this.#models.has(place.name)) return;
    if (signal.aborted) throw signal.reason;
    if (this.#running !== null && this.#running.name !== place.name)
      throw new ServeError("QUEUE_FULL", "another model is being brought; try again when it is there", {
        retryAfterMs: 5000,
      });
    this.#running ??= this.#start(place);
    const running = this.#running;
    running.watchers.add(onStatus);
    const leave = () => {
      running.watchers.delete(onStatus);
      if (running.watchers.size === 0) running.controller.abort();
    };
    signal.addEventListener("abort", leave, { once: true });
    try {
      await running.ended;
    } finally {
      signal.removeEventListener("abort", leave);
      running.watchers.delete(onStatus);
    }
  }

  /**
   * Forgets a model that was brought, and removes its file where no other name stands for it.
   * @throws ServeError FORBIDDEN for models of the operator, MODEL_NOT_FOUND.
   */
  async remove(asked: string): Promise<void> {
    const name = plainName(asked);
    const place = await this.#allowed(asked);
    const { isLast } = await this.#models.remove(name);
    await this.#kept?.forget(name);
    if (!isLast) return;
    const { cacheDir } = await hubSettings();
    await removeFromCache(cacheDir, place.repo, place).catch((error: unknown) => {
      // Somebody else may have removed it.
      if (!(error instanceof BitNetError && error.code === "FILE_NOT_FOUND")) throw error;
    });
  }

  async #allowed(asked: string): Promise<Place> {
    if (this.#settings.allowed.length === 0)
      throw new ServeError("FORBIDDEN", "models are brought here by whoever runs the server (--allow-pull)", {
        param: "model",
      });
    const place = placeOf(asked);
    if (this.#isAllowed(place.repo)) return place;
    throw new ServeError("FORBIDDEN", "this model may not be brought here; allow it with --allow-pull", {
      param: "model",
    });
  }

  #start(place: Place): Running {
    const controller = new AbortController();
    const watchers = new Set<(status: PullStatus) => void>();
    const tell = (status: PullStatus) => {
      for (const watcher of watchers) watcher(status);
    };
    const ended = this.#bring(place, controller.signal, tell).finally(() => {
      this.#running = null;
    });
    ended.catch(() => {}); // those who watch see it
    return { name: place.name, controller, watchers, ended };
  }

  async #bring(place: Place, signal: AbortSignal, tell: (status: PullStatus) => void): Promise<void> {
    if (this.#models.nRemovable >= mostModels)
      throw new ServeError("TOO_LARGE", `${mostModels} models have been brought here; delete one of them`);
    let files: readonly ChosenFile[] = [];
    try {
      const { path } = await pull(place.source, {
        signal,
        onNotice: this.#log,
        onChosen: async (chosen) => {
          files = chosen;
          await this.#checkRoom(place, chosen);
        },
        onProgress: ({ phase, file: name, doneBytes }) => {
          const at = files.findIndex(({ path: each }) => each === name);
          const file = files[at];
          if (file === undefined) return;
          const before = files.slice(0, at).reduce((sum, { size }) => sum + size, 0);
          tell({ phase, file, doneBytes: Math.min(Math.max(0, doneBytes - before), file.size) });
        },
      });
      const { name, repo } = place;
      await this.#kept?.keep({ name, repo, path, at: Date.now() }).catch((error: unknown) => {
        this.#log(`pull: ${repo} will be forgotten when the server ends: ${String(error).slice(0, 200)}`);
      });
      this.#models.add(name, path, keepAliveMs);
    } catch (error) {
      throw this.#shown(error, place);
    }
  }

  async #checkRoom({ repo }: Place, chosen: readonly ChosenFile[]): Promise<void> {
    const { cacheDir } = await hubSettings();
    const cached = await listCache(cacheDir);
    const here = cached.filter((model) => model.repo === repo).flatMap(({ revisions }) => revisions);
    const isHere = ({ path, size }: ChosenFile) =>
      here.some(({ files }) => files.some((file) => file.path === path && file.size === size));
    const held = cached.reduce((sum, { bytes }) => sum + bytes, 0);
    const wanted = chosen.filter((file) => !isHere(file)).reduce((sum, { size }) => sum + size, 0);
    const { maxCacheBytes } = this.#settings;
    if (held + wanted <= maxCacheBytes) return;
    throw new ServeError(
      "TOO_LARGE",
      `the model has ${wanted} bytes beside ${held} that are here already, and this server keeps ${maxCacheBytes} (--pull-limit)`,
    );
  }

  /** Messages of the hub's part may name paths of this machine. */
  #shown(error: unknown, { repo, file }: Place): unknown {
    if (!(error instanceof BitNetError) || error.code === "ABORTED") return error;
    const what = file === null ? repo : `${repo}: ${file}`;
    this.#log(`pull: ${error.code}: ${error.message.replaceAll(/\s+/g, " ").slice(0, 1000)}`);
    if (error.code === "INVALID_ARGUMENT" || error.code === "FILE_NOT_FOUND")
      return new ServeError(
        error.code === "FILE_NOT_FOUND" ? "MODEL_NOT_FOUND" : "INVALID_INPUT",
        error.code === "FILE_NOT_FOUND"
          ? `${what}: the hub has no such model that runs here`
          : `${what}: name one file of it, as owner/name:file.gguf`,
        { param: "model" },
      );
    if (error.code === "ACCESS_DENIED")
      return new ServeError("FORBIDDEN", `${what}: the hub does not give it`);
    return new ServeError("HUB_FAILED", `${what}: it could not be brought from the hub`, { cause: error });
  }
}

/** Ollama's clients add a tag to names that have none. */
function plainName(name: string): string {
  return name.replace(/:latest$/, "");
}

/** A name on the hub, also as Ollama writes it (`hf.co/owner/name`), or a short one; no address, so that nobody is sent elsewhere. */
function placeOf(asked: string): Place {
  const name = plainName(asked);
  const source = sourceOfAlias(name) ?? name.replace(/^(?:hf\.co|huggingface\.co)\//, "");
  const isName = name.length <= 256 && !/^\w+:\/\//.test(source) && !source.startsWith("hf:/");
  const endpoint = hubEndpoint();
  try {
    if (isName) return { name, source, ...parseHubReference(source, endpoint) };
  } catch {
    // said below, without the text
  }
  throw new ServeError("INVALID_INPUT", "model: expected a name such as owner/name or owner/name:file.gguf", {
    param: "model",
  });
}

function matches(pattern: string, repo: string): boolean {
  return (
    pattern === "*" || pattern === repo || (pattern.endsWith("/*") && repo.startsWith(pattern.slice(0, -1)))
  );
}
