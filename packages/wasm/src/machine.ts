/**
 * A machine: a worker that coordinates, its memory with the engine, and helpers that share the memory. Requests are answered in order. A machine that
 * breaks (a trap, a worker that ends) fails all its requests, once and for all.
 */
import { BitNetError } from "@bitnet.ts/core";
import { type Places, startWorker, type WorkerHandle } from "#host";
import type { PagesWanted } from "./engine.ts";
import type { Answers, Command, FromWorker, Request } from "./messages.ts";

interface Waiting {
  resolve(answer: unknown): void;
  reject(error: BitNetError): void;
}

export class Machine {
  readonly #module: WebAssembly.Module;
  readonly #places: Places;
  readonly #coordinator: WorkerHandle;
  /** Until they are told to end. */
  readonly #threads: WorkerHandle[] = [];
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #broken: BitNetError | null = null;

  private constructor(module: WebAssembly.Module, places: Places) {
    this.#module = module;
    this.#places = places;
    this.#coordinator = this.#start((message) => this.#receive(message));
  }

  /**
   * @param pages Of its memory, which may become less than the least where no more is granted.
   * @throws BitNetError BACKEND_UNAVAILABLE.
   */
  static async start(
    module: WebAssembly.Module,
    { places, pages: wanted, threads }: { places: Places; pages: PagesWanted; threads: number },
  ): Promise<{ machine: Machine; pages: number }> {
    const machine = new Machine(module, places);
    try {
      const { pages } = await machine.ask({ kind: "start", module, wanted });
      if (threads > 1) await machine.#startHelpers(threads - 1);
      return { machine, pages };
    } catch (error) {
      machine.end();
      if (!(error instanceof BitNetError)) throw error;
      throw new BitNetError("BACKEND_UNAVAILABLE", error.message, { cause: error });
    }
  }

  get isBroken(): boolean {
    return this.#broken !== null;
  }

  /** @throws BitNetError BACKEND_FAILED when the machine breaks. */
  ask<K extends Request["kind"]>(
    request: Extract<Request, { kind: K }>,
    transfer: (ArrayBuffer | MessagePort)[] = [],
  ): Promise<Answers[K]> {
    if (this.#broken !== null) return Promise.reject(this.#broken);
    const id = this.#nextId++;
    return new Promise<Answers[K]>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject });
      this.#coordinator.hold(true);
      this.#coordinator.post({ ...request, id }, transfer);
    });
  }

  tell(command: Command): void {
    if (this.#broken === null) this.#coordinator.post(command, []);
  }

  /** Ends all its threads: at once where something is still asked, else as soon as the helpers have left the pool. */
  end(): void {
    if (this.#broken !== null) return;
    if (this.#waiting.size > 0) {
      this.#break("it was disposed");
      return;
    }
    const dismissed = this.ask({ kind: "dismiss" });
    this.#broken = ended("it was disposed");
    dismissed.then(
      () => this.#break("it was disposed"),
      () => {},
    );
  }

  async #startHelpers(n: number): Promise<void> {
    const channels = Array.from({ length: n }, () => new MessageChannel());
    const ports = channels.map(({ port1 }) => port1);
    const arrivals = channels.map(({ port2 }, i) => this.#startHelper(i + 1, port2));
    await Promise.all([this.ask({ kind: "prepareHelpers", ports }, ports), ...arrivals]);
    await this.ask({ kind: "setHelpers", n });
  }

  #startHelper(index: number, port: MessagePort): Promise<void> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve: () => resolve(), reject });
      const helper = this.#start((message) => {
        if (message.kind === "broken") return this.#break(message.message);
        if (message.kind === "unread") return void this.#share(helper, index);
        helper.hold(false);
        this.#settle(id, null);
      });
      helper.hold(true);
      helper.post({ kind: "help", module: this.#module, index, from: port }, [port]);
    });
  }

  /** By way of this thread. */
  async #share(helper: WorkerHandle, index: number): Promise<void> {
    try {
      const from = await this.ask({ kind: "share", index });
      helper.post({ kind: "help", module: this.#module, index, from }, []);
    } catch {
      // The machine is broken, and whoever waits has been told.
    }
  }

  #start(onMessage: (message: FromWorker) => void): WorkerHandle {
    const worker = startWorker(this.#places);
    this.#threads.push(worker);
    worker.onMessage(onMessage);
    worker.onEnd((reason) => this.#break(reason));
    return worker;
  }

  #receive(message: FromWorker): void {
    if (message.kind === "broken") this.#break(message.message);
    else if (message.kind === "answer") this.#settle(message.id, message.answer);
  }

  #settle(id: number, answer: unknown): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#coordinator.hold(false);
    waiting?.resolve(answer);
  }

  #break(reason: string): void {
    const error = this.#broken ?? ended(reason);
    this.#broken = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    for (const thread of this.#threads.splice(0)) thread.terminate();
  }
}

function ended(reason: string): BitNetError {
  return new BitNetError("BACKEND_FAILED", `wasm: the engine has ended (${reason})`);
}
