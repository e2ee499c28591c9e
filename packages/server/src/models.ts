/**
 * The models of a server: by what names they are asked for, and which are loaded. The first is loaded at the start, others when they are
 * first asked for; those that nobody uses make room for them. Knows nothing of HTTP.
 */
import { readFile, stat } from "node:fs/promises";
import { GrammarCompiler } from "@bitnet.ts/grammar";
import { BitNet } from "bitnet.ts";
import { ServeError } from "./errors.ts";
import type { ServedModel } from "./settings.ts";

/** A model in use; to be given back. */
export interface Lease {
  readonly name: string;
  readonly model: BitNet;
  /** Made when first asked for. */
  readonly grammars: GrammarCompiler;
  /** Milliseconds that loading took for this very use; 0 when the model was there. */
  readonly loadMs: number;
  release(): void;
}

interface Slot {
  readonly served: ServedModel;
  loading: Promise<BitNet> | null;
  model: BitNet | null;
  grammars: GrammarCompiler | null;
  nUsers: number;
  lastUse: number;
  loadedAt: Date | null;
}

export interface LoadedModel {
  readonly name: string;
  readonly model: BitNet | null;
  readonly loadedAt: Date | null;
  readonly source: string;
}

export class Models {
  readonly #slots: readonly Slot[];
  readonly #aliases: readonly string[];
  /** How many may be loaded at once. */
  readonly #maxLoaded: number;
  #nUses = 0;

  constructor(served: readonly ServedModel[], aliases: readonly string[], maxLoaded: number) {
    this.#slots = served.map((each) => ({
      served: each,
      loading: null,
      model: null,
      grammars: null,
      nUsers: 0,
      lastUse: 0,
      loadedAt: null,
    }));
    this.#aliases = aliases;
    this.#maxLoaded = Math.max(1, maxLoaded);
  }

  get list(): readonly LoadedModel[] {
    return this.#slots.map(({ served, model, loadedAt }) => ({
      name: served.name,
      source: served.source,
      model,
      loadedAt,
    }));
  }

  /** Names that answers may be asked under, aliases included. */
  get names(): readonly string[] {
    return [...this.#slots.map(({ served }) => served.name), ...this.#aliases.filter((name) => name !== "*")];
  }

  /** The model's own name, for one of its names; without a name, the first model's. */
  resolve(name: string | undefined): string {
    return this.#find(name).served.name;
  }

  /**
   * Takes a model into use, loading it if need be.
   * @throws ServeError MODEL_NOT_FOUND; whatever loading ends in.
   */
  async acquire(name: string | undefined): Promise<Lease> {
    const slot = this.#find(name);
    const start = performance.now();
    const isLoaded = slot.model !== null;
    slot.nUsers++;
    try {
      slot.lastUse = ++this.#nUses;
      const model = slot.model ?? (await this.#load(slot));
      let isReleased = false;
      return {
        name: slot.served.name,
        model,
        get grammars() {
          slot.grammars ??= new GrammarCompiler(model.tokenizer, { vocabSize: model.info.vocabSize });
          return slot.grammars;
        },
        loadMs: isLoaded ? 0 : performance.now() - start,
        release() {
          if (!isReleased) slot.nUsers--;
          isReleased = true;
        },
      };
    } catch (error) {
      slot.nUsers--;
      throw error;
    }
  }

  async dispose(): Promise<void> {
    for (const slot of this.#slots) {
      const model = slot.model ?? (await slot.loading?.catch(() => null)) ?? null;
      await slot.grammars?.dispose();
      await model?.dispose();
    }
  }

  #find(name: string | undefined): Slot {
    const first = this.#slots[0];
    if (first === undefined) throw new ServeError("MODEL_NOT_FOUND", "this server has no model");
    if (name === undefined || name === "") return first;
    const plain = name.replace(/:latest$/, "");
    const slot = this.#slots.find(({ served }) => served.name === name || served.name === plain);
    if (slot !== undefined) return slot;
    if (this.#aliases.includes("*") || this.#aliases.includes(name) || this.#aliases.includes(plain))
      return first;
    const shown = JSON.stringify(name.slice(0, 100));
    throw new ServeError("MODEL_NOT_FOUND", `the model ${shown} does not exist here`, { param: "model" });
  }

  #load(slot: Slot): Promise<BitNet> {
    slot.loading ??= this.#loadNow(slot).finally(() => {
      slot.loading = null;
    });
    return slot.loading;
  }

  async #loadNow(slot: Slot): Promise<BitNet> {
    await this.#makeRoom(slot);
    const model = await BitNet.load(slot.served.source, slot.served.options);
    slot.model = model;
    slot.loadedAt = new Date();
    return model;
  }

  /** Unloads the model that has rested longest, where there are too many. */
  async #makeRoom(wanted: Slot): Promise<void> {
    const loaded = this.#slots.filter(
      (slot) => slot !== wanted && (slot.model !== null || slot.loading !== null),
    );
    if (loaded.length < this.#maxLoaded) return;
    const idle = loaded.filter((slot) => slot.nUsers === 0 && slot.model !== null);
    idle.sort((a, b) => a.lastUse - b.lastUse);
    const [victim] = idle;
    if (victim === undefined)
      throw new ServeError("OUT_OF_MEMORY", "all loaded models are in use; try again later", {
        retryAfterMs: 2000,
      });
    const { model } = victim;
    await victim.grammars?.dispose();
    victim.grammars = null;
    victim.model = null;
    victim.loadedAt = null;
    await model?.dispose();
  }
}

/** Bytes and date of a model's file; nulls for what is no file. */
export async function describeFile(source: string): Promise<{ bytes: number; modified: Date }> {
  try {
    const { size, mtime } = await stat(source);
    return { bytes: size, modified: mtime };
  } catch {
    return { bytes: 0, modified: new Date(0) };
  }
}

/** SHA-256 of a file, or of its name where it cannot be read whole. */
export async function digestOf(source: string): Promise<string> {
  const { createHash } = await import("node:crypto");
  const hash = createHash("sha256");
  const { bytes } = await describeFile(source);
  if (bytes > 0 && bytes <= 64 * 2 ** 20) hash.update(await readFile(source));
  else hash.update(`${source}\n${bytes}`);
  return hash.digest("hex");
}
