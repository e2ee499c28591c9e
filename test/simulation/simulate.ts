/**
 * Runs a plan: requests of the server's own exchanges, admission, accounts and stream writers over the engine's own scheduler and cache,
 * on a machine, sockets and a clock that are not real. Every rule that must always hold is checked whenever nothing can happen without
 * time passing, and at the end.
 */
import { type Generation, type GenerationResult, Scheduler } from "@bitnet.ts/core";
import { Admission } from "#server/admission.ts";
import { AnswerCache } from "#server/answer-cache.ts";
import { endExchanges } from "#server/drain.ts";
import { ServeError, toServeError } from "#server/errors.ts";
import { Exchange } from "#server/exchange.ts";
import { generateAnswers, reserveFor } from "#server/generating.ts";
import type { Lease } from "#server/models.ts";
import { Accounts } from "#server/rate-limit.ts";
import type { Serving } from "#server/serving.ts";
import { defaultSettings } from "#server/settings.ts";
import { eosId, poison, SimulatedBackend, vocabSize } from "./backend.ts";
import { Chance } from "./chance.ts";
import { SimulatedClock } from "./clock.ts";
import { Ledger, type TokenGrant } from "./ledger.ts";
import { type Plan, planOf, type RequestPlan } from "./plan.ts";
import { checkEnd, checkQuiet } from "./rules.ts";
import { replyOn, SimulatedSocket } from "./socket.ts";

/** One request, and what has become of it. */
export interface Visit {
  readonly index: number;
  readonly plan: RequestPlan;
  readonly socket: SimulatedSocket;
  exchange: Exchange | null;
  /** "asking": for its turn. */
  state: "coming" | "asking" | "running" | "ended";
  /** Order of arrival. */
  order: number;
  askedAt: number;
  enteredAt: number;
  endedAt: number;
  /** Null: it went well. */
  failure: ServeError | null;
  generations: {
    started: number;
    order: number;
    choice: number;
    result: GenerationResult | null;
    endedAt: number;
  }[];
  grant: TokenGrant | null;
  /** What its answers must be, once known. */
  readonly expected: number[][];
  /** How often who came later, or is of its own client, has had a turn while it waited, by client. */
  readonly turns: Map<number, number>;
}

export class World {
  readonly seed: number;
  readonly plan: Plan;
  readonly clock = new SimulatedClock();
  readonly backend: SimulatedBackend;
  readonly scheduler: Scheduler;
  readonly admission: Admission;
  readonly ledgers: Ledger[];
  readonly visits: Visit[];
  readonly violations: string[] = [];
  readonly trace: string[] = [];
  /** Requests that have got their turn since the last quiet moment. */
  entered: Visit[] = [];
  drainingSince: number | null = null;
  isDrained = false;
  /** What the engine was brought to do. */
  readonly reached = { preemptions: 0, paused: 0, rowsSkipped: 0 };
  nOrders = 0;
  nGenerations = 0;
  readonly #accounts = new Accounts();
  readonly #serving: Serving;
  readonly #exchanges = new Set<Exchange>();

  constructor(seed: number) {
    this.seed = seed;
    this.plan = planOf(seed);
    const { backend, scheduler, server } = this.plan;
    const isPoisoned = this.plan.requests.some(({ prompt }) => prompt.includes(poison));
    this.backend = new SimulatedBackend(this.clock, new Chance(seed ^ 0x55555555), {
      ...backend,
      isPoisoned,
    });
    this.scheduler = new Scheduler(this.backend, {
      nPages: backend.nPages,
      maxRows: backend.maxRows,
      ...scheduler,
      tokenizer: {
        vocabSize,
        eosIds: [eosId],
        tokenBytes: (id) => new TextEncoder().encode(`${id} `),
        encode: () => new Int32Array(),
        createDecoder: () => ({ push: (id) => `${id} `, end: () => "" }),
      },
    });
    const settings = { ...defaultSettings, models: [], log: () => {}, ...server };
    this.admission = new Admission(settings);
    this.ledgers = this.plan.clients.map(({ limits }) => new Ledger(limits));
    const followed = { token: () => {}, end: () => {} };
    // As much of it as exchanges read.
    this.#serving = {
      settings,
      admission: this.admission,
      state: "ready",
      models: { resolve: () => "fake", acquire: async () => this.#lease() },
      watching: { activity: { follow: () => followed } },
      cache: new AnswerCache({ maxBytes: 0, maxAgeMs: 1 }),
      security: { hidesTokens: false, output: () => null },
    } as unknown as Serving;
    this.visits = this.plan.requests.map((plan, index) => ({
      ...{ index, plan, socket: new SimulatedSocket(this.clock, { ...plan.reader, kind: "fast" }) },
      ...{ exchange: null, state: "coming", order: -1, askedAt: 0, enteredAt: 0, endedAt: 0, failure: null },
      ...{ generations: [], grant: null, expected: [], turns: new Map() },
    }));
  }

  note(text: string): void {
    this.trace.push(`${this.clock.now - 1_000_000} ms: ${text}`);
  }

  violate(text: string): void {
    this.violations.push(text);
    this.note(`VIOLATION: ${text}`);
  }

  get second(): number {
    return Math.floor(this.clock.now / 1000);
  }

  async run(): Promise<void> {
    for (const visit of this.visits) this.#at(visit.plan.atMs, () => void this.#visit(visit));
    for (const ms of this.plan.clearCacheAtMs) this.#at(ms, () => this.scheduler.clearCache());
    if (this.plan.drainAtMs !== null) this.#at(this.plan.drainAtMs, () => void this.#drain());
    await this.clock.run(() => {
      checkQuiet(this);
      return this.violations.length > 0;
    });
    if (this.violations.length > 0) return;
    await checkEnd(this);
  }

  #at(ms: number, task: () => void): void {
    void this.clock.sleep(ms).then(task);
  }

  async #drain(): Promise<void> {
    this.note("the server is told to end");
    this.drainingSince = this.clock.now;
    await endExchanges(this.#serving, this.#exchanges);
    this.isDrained = true;
    this.note("all requests are done or cut off");
  }

  /** What the server does with a request. */
  async #visit(visit: Visit): Promise<void> {
    const { plan } = visit;
    // The socket's own time runs from here.
    Object.assign(visit, { socket: new SimulatedSocket(this.clock, plan.reader), order: this.nOrders++ });
    if (this.drainingSince !== null) {
      visit.state = "ended";
      visit.failure = new ServeError("DRAINING", "the server is about to end");
      visit.socket.end("refused");
      return;
    }
    const client = this.plan.clients[plan.client];
    if (client === undefined) throw new Error("a request without a client");
    const exchange = new Exchange({
      serving: this.#serving,
      request: {
        id: `r${visit.index}`,
        body: new Uint8Array(plan.bytes),
        headers: {},
      } as unknown as Exchange["request"],
      reply: replyOn(visit.socket),
      dialect: "openai",
      client: {
        id: client.tenant,
        tenant: client.tenant,
        name: client.tenant,
        account: this.#accounts.of(client.tenant, client.limits),
        ...(plan.isBackground ? { background: { signal: new AbortController().signal } } : {}),
      },
    });
    visit.exchange = exchange;
    this.#exchanges.add(exchange);
    try {
      await this.#answer(visit, exchange);
      this.note(`r${visit.index} is answered`);
    } catch (error) {
      visit.failure = exchange.signal.aborted ? (exchange.signal.reason as ServeError) : toServeError(error);
      this.note(`r${visit.index} ends with ${visit.failure.code}`);
      if (visit.failure.code === "RATE_LIMIT_EXCEEDED") this.#judgeRefusal(visit);
      if (visit.failure.code === "QUEUE_FULL") this.#judgeFullness(visit);
      exchange.fail(error);
    } finally {
      this.#exchanges.delete(exchange);
      if (visit.state !== "coming") this.ledgers[plan.client]?.close();
      Object.assign(visit, { state: "ended", endedAt: this.clock.now });
      exchange.end();
      if (visit.grant !== null) visit.grant.used = this.#usedBy(visit);
    }
  }

  async #answer(visit: Visit, exchange: Exchange): Promise<void> {
    const { plan } = visit;
    const ledger = this.ledgers[plan.client];
    visit.askedAt = this.clock.now;
    const mustRefuse = ledger?.refusesRequest(this.second) ?? false;
    const starting = exchange.start(undefined);
    // Its account has been asked by now; a refusal arrives later.
    if (!mustRefuse) {
      ledger?.open(this.second);
      visit.state = "asking";
    }
    const lease = await starting;
    if (mustRefuse) this.violate(`r${visit.index} was let in beyond a limit of requests`);
    Object.assign(visit, { state: "running", enteredAt: this.clock.now });
    this.entered.push(visit);
    this.note(`r${visit.index} has its turn`);
    const plans = Array.from({ length: plan.n }, (_, choice) => ({
      ids: Int32Array.from(plan.prompt),
      options: { ...plan.options, choice },
    }));
    const nTokens = plan.n * (plan.prompt.length + plan.options.maxTokens);
    const mustRefuseTokens = ledger?.refusesTokens(this.second, nTokens) ?? false;
    const reserving = reserveFor(exchange, lease, plans);
    // Its account has been asked by now; a refusal arrives later.
    if (!mustRefuseTokens) visit.grant = ledger?.grant(this.second, nTokens) ?? null;
    await reserving;
    if (mustRefuseTokens) this.violate(`r${visit.index} was given tokens beyond the limit`);
    this.#current = visit;
    if (plan.isStream) {
      const writer = exchange.openStream("sse");
      await generateAnswers(exchange, lease, plans, (index, { id, text }) =>
        text === "" ? undefined : writer.write(`data: ${JSON.stringify([index, id])}\n\n`),
      );
      writer.end("data: [DONE]\n\n");
    } else {
      const results = await generateAnswers(exchange, lease, plans, () => {});
      exchange.sendJson(results.map(({ ids }) => [...ids]));
    }
  }

  #current: Visit | null = null;

  /** The model: what it generates is noted with the request that asked, which does so without a pause after it has set `#current`. */
  #lease(): Lease {
    const generate = (ids: Int32Array, options: RequestPlan["options"] & { choice: number }): Generation => {
      const visit = this.#current;
      const generation = this.scheduler.generate(ids, options);
      const record = { started: this.clock.now, order: this.nGenerations++, ...{ choice: options.choice } };
      const entry: Visit["generations"][number] = {
        ...record,
        result: null,
        endedAt: Number.POSITIVE_INFINITY,
      };
      visit?.generations.push(entry);
      void generation.result
        .then((result) => {
          entry.result = result;
        })
        .catch(() => {})
        .finally(() => {
          entry.endedAt = this.clock.now;
          if (visit?.grant && visit.state === "ended") visit.grant.used = this.#usedBy(visit);
        });
      return generation;
    };
    return { name: "fake", model: { generate }, release: () => {} } as unknown as Lease;
  }

  #usedBy({ generations }: Visit): number {
    return generations.reduce(
      (sum, { result }) => sum + (result === null ? 0 : result.promptTokens + result.ids.length),
      0,
    );
  }

  /** A client has been told that it asked too much: was that so? */
  #judgeRefusal(visit: Visit): void {
    const ledger = this.ledgers[visit.plan.client];
    if (ledger === undefined) return;
    const nTokens = visit.plan.n * (visit.plan.prompt.length + visit.plan.options.maxTokens);
    if (visit.state === "asking") {
      this.violate(`r${visit.index} was refused although its client had asked for less than its limit`);
    } else if (visit.state === "running" && !ledger.refusesTokens(this.second, nTokens)) {
      this.violate(`r${visit.index} was refused tokens that its client has left`);
    }
  }

  #judgeFullness(visit: Visit): void {
    const { maxQueued, maxQueuedBytes, queueTimeoutMs } = this.plan.server;
    if (this.clock.now - visit.askedAt >= queueTimeoutMs) return;
    const others = this.visits.filter(
      (other) => other.state === "asking" && other !== visit && !other.plan.isBackground,
    );
    const bytes = others.reduce((sum, { plan }) => sum + plan.bytes, 0);
    if (bytes + visit.plan.bytes > maxQueuedBytes) return;
    if (others.length < maxQueued) this.violate(`r${visit.index} was refused although the queue had room`);
    const nOf = (client: number) => others.filter(({ plan }) => plan.client === client).length;
    const most = Math.max(0, ...others.map(({ plan }) => nOf(plan.client)));
    if (most > nOf(visit.plan.client) + 1)
      this.violate(`r${visit.index} was refused although another client has ${most} waiting`);
  }
}

/** @throws Error with the rule that was broken, the end of the trace, and how to see it again. */
export async function simulate(seed: number): Promise<World> {
  const world = new World(seed);
  const restore = world.clock.install(seed);
  try {
    await world.run();
  } catch (error) {
    world.violate(error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    restore();
  }
  if (world.violations.length > 0) throw new SimulationFailure(world);
  return world;
}

class SimulationFailure extends Error {
  constructor({ seed, violations, trace }: World) {
    super(
      [
        `seed ${seed}: ${violations[0]}`,
        ...trace.slice(-40).map((line) => `  ${line}`),
        `again: BITNET_SIMULATION_SEED=${seed} npx vitest run test/simulation.test.ts`,
      ].join("\n"),
    );
  }
}
