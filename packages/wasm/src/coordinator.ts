/**
 * The worker's side: one memory with the engine in it, which answers requests one after another and computes on this thread; or, when told to
 * help, a thread of another worker's pool for good. Knows nothing of where its messages come from.
 */
import type { EngineFailure } from "@bitnet.ts/core";
import { createMemory, Engine, stackBytes } from "./engine.ts";
import type { Answers, FilePart, FromWorker, Proofs, Request, Shared, ToWorker } from "./messages.ts";

export interface WorkerPort {
  post(message: FromWorker, transfer: ArrayBuffer[]): void;
  /** Copies a part of a local file to `to`. Undefined where there are no files. @throws Error */
  readFile?: (part: FilePart, to: Uint8Array) => EngineFailure | null;
}

/** Calls after which a function is compiled by the optimising compiler, and then some. */
const hotCalls = 4000;
const hotMs = 60;
/**
 * Of a spell for the stopwatch, by the clock: long enough for a coarse one of pages (1 ms), else short, so that many find a core undisturbed on a
 * machine with other work.
 */
const shortestMs = 0.2;
const longestMs = 6;
const stepsOfClock = 10;
const quietRounds = 8;
/** Where the machine is busy, the choice is made with what is known by then. */
const mostSpeedMs = 500;
const dotKinds = ["i32", "i16"] as const;
const proofs = { i32: 1, i16: 2, madd: 4 } as const;

export function serve(port: WorkerPort): (message: ToWorker) => void {
  const coordinator = new Coordinator(port);
  let tail: Promise<void> = Promise.resolve();
  return (message) => {
    tail = tail.then(async () => {
      try {
        await coordinator.handle(message);
      } catch (error) {
        port.post({ kind: "broken", message: error instanceof Error ? error.message : String(error) }, []);
      }
    });
  };
}

class Coordinator {
  readonly #port: WorkerPort;
  #engine: Engine | null = null;
  #executable = 0;
  /** By helper. */
  #shared: Shared[] = [];

  constructor(port: WorkerPort) {
    this.#port = port;
  }

  async handle(message: ToWorker): Promise<void> {
    if (message.kind === "help") return this.#help(message);
    if (message.kind === "releasePages") {
      const { pages } = message;
      if (this.#executable !== 0)
        this.#live.withCopies([pages], (at) =>
          this.#live.call.bitnet_release_pages(this.#executable, at, pages.length),
        );
      return;
    }
    const answer = await this.#answer(message);
    const { outcome } = (message.kind === "run" ? answer : {}) as Partial<Answers["run"]>;
    const transfer = outcome instanceof ArrayBuffer ? [outcome] : [];
    this.#port.post({ kind: "answer", id: message.id, answer }, transfer);
  }

  get #live(): Engine {
    if (this.#engine === null) throw new Error("the engine has not been started");
    return this.#engine;
  }

  async #help({ module, index, from }: Extract<ToWorker, { kind: "help" }>): Promise<void> {
    const shared = "memory" in from ? from : await sharedThrough(from);
    if (shared === null) return this.#port.post({ kind: "unread" }, []);
    const { memory, stackTop } = shared;
    const { call } = await Engine.open(module, memory, false);
    call.__stack_pointer.value = stackTop;
    this.#port.post({ kind: "ready" }, []);
    call.bitnet_help(index);
  }

  async #answer(request: Request): Promise<Answers[keyof Answers]> {
    switch (request.kind) {
      case "start": {
        const { memory, pages } = createMemory(request.wanted);
        this.#engine = await Engine.open(request.module, memory, true);
        return { pages } satisfies Answers["start"];
      }
      case "prove":
        return this.#prove();
      case "check": {
        const { call } = this.#live;
        call.bitnet_set_proved(request.proved);
        return this.#live.text(call.bitnet_check_variant(request.variant)) satisfies Answers["check"];
      }
      case "create":
        return this.#create(request);
      case "fill":
        return this.#fill(request);
      case "finish": {
        this.#live.call.bitnet_finish(this.#executable);
        return { failure: this.#live.failure(), numbers: this.#numbers() } satisfies Answers["finish"];
      }
      case "run":
        return this.#run(request.words);
      case "destroy": {
        const { call, memory } = this.#live;
        call.bitnet_destroy(this.#executable);
        this.#executable = 0;
        const answer: Answers["destroy"] = {
          liveBytes: call.bitnet_live_bytes(),
          memoryBytes: memory.buffer.byteLength,
        };
        return answer;
      }
      case "prepareHelpers": {
        const { call, memory } = this.#live;
        const stacks = request.ports.map(() => call.bitnet_allocate(stackBytes));
        if (stacks.includes(0)) throw new RangeError("no memory for the stacks of threads");
        this.#shared = stacks.map((at) => ({ memory, stackTop: at + stackBytes }));
        for (const [i, port] of request.ports.entries()) port.postMessage(this.#shared[i]);
        return null;
      }
      case "share": {
        const shared = this.#shared[request.index - 1];
        if (shared === undefined) throw new RangeError(`there is no helper ${request.index}`);
        return shared;
      }
      case "setHelpers":
        this.#live.call.bitnet_set_helpers(request.n);
        return null;
      case "dismiss":
        this.#engine?.call.bitnet_dismiss();
        return null;
    }
  }

  #numbers() {
    return this.#live.numbers(this.#executable);
  }

  #create({ variant, program, limits }: Extract<Request, { kind: "create" }>): EngineFailure | null {
    const engine = this.#live;
    const { words, scales } = program;
    try {
      this.#executable = engine.withCopies([words, limits, ...scales], (atWords, atLimits, ...atScales) => {
        const placed = Uint32Array.from(scales.flatMap(({ length }, i) => [atScales[i] ?? 0, length]));
        return engine.withCopies([placed], (atPlaced) =>
          engine.call.bitnet_create(variant, atLimits, atWords, words.length, atPlaced, scales.length),
        );
      });
      return engine.failure();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return { code: "OUT_OF_MEMORY", message: error.message, op: -1, row: -1 };
    }
  }

  #fill({ source, offset, part }: Extract<Request, { kind: "fill" }>): Answers["fill"] {
    const engine = this.#live;
    const length = part instanceof Uint8Array ? part.byteLength : part.length;
    const at = engine.call.bitnet_source_room(this.#executable, source, offset, length);
    if (at === 0) return engine.failure() ?? false;
    const room = engine.bytes(at, length);
    if (part instanceof Uint8Array) room.set(part);
    else if (this.#port.readFile === undefined) throw new Error("there are no files here");
    else return this.#port.readFile(part, room) ?? true;
    return true;
  }

  #run(words: Int32Array): Answers["run"] {
    const engine = this.#live;
    const { call } = engine;
    let outcome: ArrayBuffer | EngineFailure;
    try {
      const succeeded = engine.withCopies([words], (at) =>
        call.bitnet_run(this.#executable, at, words.length),
      );
      outcome = succeeded
        ? engine.copy(call.bitnet_result(), 4 * call.bitnet_result_words())
        : (engine.failure() ?? { code: "INTERNAL", message: "the step failed", op: -1, row: -1 });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      outcome = { code: "OUT_OF_MEMORY", message: error.message, op: -1, row: -1 };
    }
    call.bitnet_end_step();
    return { outcome, numbers: this.#numbers() };
  }

  #prove(): Proofs {
    const engine = this.#live;
    const { call } = engine;
    // An engine's baseline compiler and its optimising one may differ, and each has been wrong.
    let wrong = call.bitnet_wrong_instructions();
    const began = performance.now();
    for (let i = 0; i < hotCalls || performance.now() - began < hotMs; i++)
      wrong |= call.bitnet_wrong_instructions();
    const proved = (proofs.i32 | proofs.i16 | proofs.madd) & ~wrong;
    const variants: string[] = [];
    for (let name = engine.text(call.bitnet_variant_name(0)); name !== null; ) {
      variants.push(name);
      name = engine.text(call.bitnet_variant_name(variants.length));
    }
    const both = proofs.i32 | proofs.i16;
    const indices = dotKinds.map((kind) => variants.indexOf(`wasm-${kind}-exact`));
    const times = (proved & both) === both ? speedsOf(call.bitnet_try_speed, indices) : [1, 1];
    const dotMs = { i32: times[0] ?? 1, i16: times[1] ?? 1 };
    return { proved, variants, dotMs };
  }
}

/** Null when it cannot be read. */
function sharedThrough(port: MessagePort): Promise<Shared | null> {
  return new Promise<Shared | null>((resolve) => {
    port.onmessage = ({ data }: MessageEvent<Shared>) => resolve(data);
    port.onmessageerror = () => resolve(null);
  }).finally(() => port.close());
}

/**
 * Milliseconds a call with each variant, at best of many short spells in turn. They go on until the optimising compiler, which works beside them, has
 * clearly been there for each and nothing has become faster for a while.
 */
function speedsOf(call: (variant: number) => number, variants: readonly number[]): number[] {
  const spellMs = Math.min(longestMs, Math.max(shortestMs, stepsOfClock * clockStepMs()));
  const first = variants.map((variant) => speedOf(call, variant, spellMs));
  const best = [...first];
  const began = performance.now();
  for (let quiet = 0; quiet < quietRounds && performance.now() - began < mostSpeedMs; quiet++) {
    for (const [i, variant] of variants.entries()) {
      const time = speedOf(call, variant, spellMs);
      const [before = time, atFirst = time] = [best[i], first[i]];
      if (time < 0.9 * before || time > atFirst / 2) quiet = 0;
      best[i] = Math.min(before, time);
    }
  }
  return best;
}

function speedOf(call: (variant: number) => number, variant: number, spellMs: number): number {
  const began = performance.now();
  let n = 0;
  let took = 0;
  do {
    for (let each = 0; each < 16; each++) call(variant);
    n += 16;
    took = performance.now() - began;
  } while (took < spellMs);
  return took / n;
}

/** The least that two readings of the clock differ by. */
function clockStepMs(): number {
  let least = longestMs;
  for (let i = 0; i < 4; i++) {
    const began = performance.now();
    let now = began;
    while (now === began) now = performance.now();
    least = Math.min(least, now - began);
  }
  return least;
}
