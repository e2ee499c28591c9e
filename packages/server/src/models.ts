/**
 * The models of a server: by what names they are asked for, and which are loaded. The first is loaded at the start, others when they are
 * first asked for. Within a budget of memory those that have rested longest make room for them, once nobody uses them. Knows nothing of
 * HTTP.
 */
import { BitNetError } from "@bitnet.ts/core";
import { GrammarCompiler } from "@bitnet.ts/grammar";
import { BitNet, type BitNetLoadOptions } from "bitnet.ts";
import { ServeError } from "./errors.ts";
import { type MemoryNeed, needOf } from "./memory-need.ts";
import { findModel, identityOf } from "./model-identity.ts";
import type { ServedModel } from "./settings.ts";

/** A model in use; to be given back. */
export interface Lease {
  /** The model's own, or that of the adapter that was asked for. */
  readonly name: string;
  readonly model: BitNet;
  /** The adapter that was asked for by name; undefined: the model's usual one, if it has one. */
  readonly adapter: string | undefined;
  /** The same as long as the model's file and options are. */
  readonly identity: string;
  /** Made when first asked for. */
  readonly grammars: GrammarCompiler;
  /** Milliseconds that loading took for this very use; 0 when the model was there. */
  readonly loadMs: number;
  /** Unload the model when nobody has used it for so long; null: keep it. Holds until the next who says otherwise, or it is unloaded. */
  keepAlive(ms: number | null): void;
  release(): void;
}

interface Loaded {
  readonly model: BitNet;
  readonly identity: string;
  readonly bytes: number;
  readonly at: Date;
  grammars: GrammarCompiler | null;
}

interface Slot {
  readonly served: ServedModel;
  loaded: Loaded | null;
  loading: Promise<Loaded> | null;
  /** To be unloaded as soon as nobody uses it: whoever asks for it waits until there is room again. */
  isLeaving: boolean;
  nUsers: number;
  lastUse: number;
  keepAliveMs: number | null;
  /** What that is again once it has been unloaded. */
  readonly usualKeepAliveMs: number | null;
  /** Brought by a client, who may have it removed. */
  readonly isRemovable: boolean;
  isRemoved: boolean;
  expiry: NodeJS.Timeout | null;
  expiresAt: Date | null;
}

export interface LoadedModel {
  readonly name: string;
  readonly model: BitNet | null;
  readonly loadedAt: Date | null;
  readonly source: string;
  /** Names of its adapters, which may be asked for like models. */
  readonly adapters: readonly string[];
  /** When it will be unloaded if nobody uses it; null: not by itself. */
  readonly expiresAt: Date | null;
  /** What it takes at most, KV cache included; 0 while it is not loaded. */
  readonly bytes: number;
}

/** Timers of Node wrap around beyond this. */
const longestTimerMs = 2 ** 31 - 1;

export class Models {
  readonly #slots: Slot[];
  readonly #aliases: readonly string[];
  /** Of all loaded models together; null: no limit. */
  readonly #maxBytes: number | null;
  /** One load after the other, since each decides about memory. */
  #lastLoad: Promise<unknown> = Promise.resolve();
  #onRelease: (() => void) | null = null;
  #nUses = 0;
  #isDisposed = false;

  constructor(served: readonly ServedModel[], aliases: readonly string[], maxBytes: number | null) {
    this.#slots = served.map((each) => slotFor(each, { isRemovable: false, keepAliveMs: null }));
    this.#aliases = aliases;
    checkNames(this.#ownNames);
    this.#maxBytes = maxBytes;
  }

  get list(): readonly LoadedModel[] {
    return this.#slots.map(({ served, loaded, expiresAt }) => ({
      name: served.name,
      source: served.source,
      adapters: adaptersOf(served),
      model: loaded?.model ?? null,
      loadedAt: loaded?.at ?? null,
      expiresAt,
      bytes: loaded?.bytes ?? 0,
    }));
  }

  /** Names that answers may be asked under, aliases included. */
  get names(): readonly string[] {
    return [...this.#ownNames, ...this.#aliases.filter((name) => name !== "*")];
  }

  get #ownNames(): readonly string[] {
    return this.#slots.flatMap(({ served }) => [served.name, ...adaptersOf(served)]);
  }

  /** The model's own name, for one of its names or that of an adapter of it; without a name, the first model's. */
  resolve(name: string | undefined): string {
    return this.#find(name).slot.served.name;
  }

  /** The adapter of that name, if it is one's. */
  adapter(name: string | undefined): string | undefined {
    return this.#find(name).adapter;
  }

  /** Whether something is served under exactly this name. */
  has(name: string): boolean {
    return this.names.includes(name);
  }

  /** Those that clients have brought. */
  get nRemovable(): number {
    return this.#slots.filter(({ isRemovable }) => isRemovable).length;
  }

  /** Serves one more model, with the options of the first; it is loaded when it is asked for. */
  add(name: string, source: string, keepAliveMs: number): void {
    if (this.has(name)) return;
    const { adapters: _, adapter: __, ...options } = this.#slots[0]?.served.options ?? {};
    this.#slots.push(slotFor({ name, source, options }, { isRemovable: true, keepAliveMs }));
  }

  /**
   * Forgets a model that a client has brought, once nobody uses it. Whoever asks for it meanwhile does not find it.
   * @returns Whether no other name stands for the same files.
   * @throws ServeError MODEL_NOT_FOUND, FORBIDDEN.
   */
  async remove(name: string): Promise<{ isLast: boolean }> {
    const { slot } = this.#find(name);
    if (!slot.isRemovable || slot.served.name !== name)
      throw new ServeError("FORBIDDEN", "this model belongs to whoever runs the server", { param: "model" });
    slot.isRemoved = true;
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    await this.#inTurn(async () => {
      while (slot.nUsers > 0 && !this.#isDisposed)
        await new Promise<void>((resolve) => {
          this.#onRelease = resolve;
        });
      await this.#unload(slot);
    });
    return { isLast: !this.#slots.some(({ served }) => served.source === slot.served.source) };
  }

  /**
   * Takes a model into use, loading it if need be.
   * @throws ServeError MODEL_NOT_FOUND, OUT_OF_MEMORY; whatever loading ends in.
   */
  async acquire(name: string | undefined): Promise<Lease> {
    const { slot, adapter } = this.#find(name);
    const start = performance.now();
    slot.lastUse = ++this.#nUses;
    const isThere = slot.loaded !== null && !slot.isLeaving;
    while (slot.loaded === null || slot.isLeaving) {
      if (slot.isRemoved) throw notFound(slot.served.name);
      await this.#load(slot);
    }
    // Nothing is waited for between finding it loaded and counting its user.
    const { loaded } = slot;
    slot.nUsers++;
    this.#stopExpiry(slot);
    const loadMs = isThere ? 0 : performance.now() - start;
    const release = () => this.#release(slot);
    let isReleased = false;
    return {
      name: adapter ?? slot.served.name,
      model: loaded.model,
      adapter,
      identity: adapter === undefined ? loaded.identity : JSON.stringify([loaded.identity, adapter]),
      get grammars() {
        loaded.grammars ??= new GrammarCompiler(loaded.model.tokenizer, {
          vocabSize: loaded.model.info.vocabSize,
        });
        return loaded.grammars;
      },
      loadMs,
      keepAlive(ms) {
        slot.keepAliveMs = ms;
      },
      release() {
        if (!isReleased) release();
        isReleased = true;
      },
    };
  }

  async dispose(): Promise<void> {
    this.#isDisposed = true;
    this.#onRelease?.();
    await this.#lastLoad;
    for (const slot of this.#slots) await this.#unload(slot);
  }

  #release(slot: Slot): void {
    slot.nUsers--;
    slot.lastUse = ++this.#nUses;
    this.#onRelease?.();
    const { keepAliveMs } = slot;
    if (slot.nUsers > 0 || keepAliveMs === null || slot.loaded === null) return;
    this.#stopExpiry(slot);
    slot.expiresAt = new Date(Date.now() + keepAliveMs);
    if (keepAliveMs > longestTimerMs) return;
    slot.expiry = setTimeout(() => {
      if (slot.nUsers === 0) void this.#inTurn(() => this.#unload(slot));
    }, keepAliveMs);
    slot.expiry.unref();
  }

  #stopExpiry(slot: Slot): void {
    if (slot.expiry !== null) clearTimeout(slot.expiry);
    slot.expiry = null;
    slot.expiresAt = null;
  }

  #find(name: string | undefined): { slot: Slot; adapter: string | undefined } {
    const first = this.#slots[0];
    if (first === undefined) throw new ServeError("MODEL_NOT_FOUND", "this server has no model");
    if (name === undefined || name === "") return { slot: first, adapter: undefined };
    const plain = name.replace(/:latest$/, "");
    for (const each of [name, plain]) {
      const slot = this.#slots.find(({ served }) => served.name === each);
      if (slot !== undefined) return { slot, adapter: undefined };
      const base = this.#slots.find(({ served }) => adaptersOf(served).includes(each));
      if (base !== undefined) return { slot: base, adapter: each };
    }
    if (this.#aliases.includes("*") || this.#aliases.includes(name) || this.#aliases.includes(plain))
      return { slot: first, adapter: undefined };
    throw notFound(name);
  }

  #load(slot: Slot): Promise<Loaded> {
    slot.loading ??= this.#inTurn(() => this.#loadNow(slot)).finally(() => {
      slot.loading = null;
    });
    return slot.loading;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#lastLoad.then(work);
    this.#lastLoad = turn.catch(() => {});
    return turn;
  }

  async #loadNow(slot: Slot): Promise<Loaded> {
    if (slot.loaded !== null && !slot.isLeaving) return slot.loaded;
    if (this.#isDisposed) throw new ServeError("DRAINING", "the server is about to end");
    if (slot.isRemoved) throw notFound(slot.served.name);
    const { source, options } = slot.served;
    const found = await findModel(source, options);
    const { path } = found;
    const need = await needOf(path, options, this.#maxBytes);
    await this.#makeRoom(slot, need);
    const loadOptions: BitNetLoadOptions = { ...options, ...need.options };
    const model = await BitNet.load(path, loadOptions);
    const identity = await identityOf(found, loadOptions, model);
    slot.loaded = { model, identity, bytes: need.bytes, at: new Date(), grammars: null };
    return slot.loaded;
  }

  /** Unloads what has rested longest until the model fits; waits for those who still use it. */
  async #makeRoom(wanted: Slot, need: MemoryNeed): Promise<void> {
    if (this.#maxBytes === null) return;
    for (;;) {
      if (this.#isDisposed) throw new ServeError("DRAINING", "the server is about to end");
      const others = this.#slots.filter((slot) => slot !== wanted && slot.loaded !== null);
      const used = others.reduce((sum, slot) => sum + (slot.loaded?.bytes ?? 0), 0);
      if (used + need.bytes <= this.#maxBytes) return;
      others.sort((a, b) => Number(a.nUsers > 0) - Number(b.nUsers > 0) || a.lastUse - b.lastUse);
      const [victim] = others;
      if (victim === undefined) throw new ServeError("OUT_OF_MEMORY", need.explain(this.#maxBytes));
      victim.isLeaving = true;
      try {
        while (victim.nUsers > 0 && !this.#isDisposed)
          await new Promise<void>((resolve) => {
            this.#onRelease = resolve;
          });
        await this.#unload(victim);
      } finally {
        victim.isLeaving = false;
      }
    }
  }

  async #unload(slot: Slot): Promise<void> {
    const { loaded } = slot;
    if (loaded === null || (slot.nUsers > 0 && !this.#isDisposed)) return;
    slot.loaded = null;
    slot.keepAliveMs = slot.usualKeepAliveMs;
    this.#stopExpiry(slot);
    await loaded.grammars?.dispose();
    await loaded.model.dispose();
  }
}

function slotFor(served: ServedModel, own: Pick<Slot, "isRemovable" | "keepAliveMs">): Slot {
  return {
    ...{
      served,
      ...own,
      usualKeepAliveMs: own.keepAliveMs,
      loaded: null,
      loading: null,
      isLeaving: false,
      isRemoved: false,
    },
    ...{ nUsers: 0, lastUse: 0, expiry: null, expiresAt: null },
  };
}

function notFound(name: string): ServeError {
  const shown = JSON.stringify(name.slice(0, 100));
  return new ServeError("MODEL_NOT_FOUND", `the model ${shown} does not exist here`, { param: "model" });
}

function adaptersOf({ options }: ServedModel): readonly string[] {
  return Object.keys(options.adapters ?? {});
}

/** @throws BitNetError INVALID_ARGUMENT. */
function checkNames(names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `serve: two models or adapters have the name ${JSON.stringify(twice.slice(0, 100))}; give them names of their own`,
    );
}
