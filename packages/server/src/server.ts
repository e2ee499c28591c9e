/** Puts a server together: Fastify for connections and routes, models, admission, and an orderly end. */
import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { BitNetError } from "@bitnet.ts/core";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { Admission } from "./admission.ts";
import { AnswerCache } from "./answer-cache.ts";
import { AnswerStore } from "./answer-store.ts";
import { acceptUploads } from "./batches/file-routes.ts";
import { InnerClients } from "./batches/inner-clients.ts";
import { openBatching } from "./batches/open-batching.ts";
import { answerBrokenRequest } from "./broken-requests.ts";
import { addressOf, type Client, identify } from "./clients.ts";
import { endExchanges } from "./drain.ts";
import { dialectOf, ServeError, statusIn, toServeError } from "./errors.ts";
import { Exchange, sendError } from "./exchange.ts";
import { checkHost, checkOrigins, isAllowedOrigin, isLoopbackAddress } from "./guard.ts";
import { notReady } from "./health.ts";
import { KeyRing } from "./keys.ts";
import { Models } from "./models.ts";
import { createRequestLog } from "./monitor/request-log.ts";
import { openWatching } from "./monitor/watching.ts";
import { addPage } from "./page-files.ts";
import { programBytes } from "./profiles.ts";
import { PulledModels } from "./pulling/pulled-models.ts";
import { Pulls } from "./pulling/pulls.ts";
import { Accounts } from "./rate-limit.ts";
import { isAdmin, type Route, routes } from "./routes.ts";
import { Security } from "./security/security.ts";
import type { Serving } from "./serving.ts";
import { defaultSettings, type ServedModel, type ServerSettings } from "./settings.ts";
import { type DataFolder, openDataFolder } from "./store/data-folder.ts";
import { serverKeys } from "./store/open-keys.ts";
import { openShared, type Shared } from "./store/sharing.ts";

export interface RunningServer {
  /** Where it listens, such as "http://127.0.0.1:8080". */
  readonly url: string;
  /** Where those who run it find what is theirs; null: at `url` as well. */
  readonly adminUrl: string | null;
  /** Resolves when the first model has been loaded, rejects when that failed. */
  readonly ready: Promise<void>;
  /** Takes no new requests, lets running ones end within the time of the settings, then ends. */
  close(): Promise<void>;
}

export type ServerOptions = Partial<ServerSettings> & { models: readonly ServedModel[]; version?: string };

/**
 * Starts a server; it listens when this resolves, and serves once `ready` has resolved.
 * @throws BitNetError INVALID_ARGUMENT for settings that would be unsafe, IO_FAILED when the address cannot be had.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { app, admin, serving, exchanges } = await prepareServer(options);
  const { settings } = serving;
  const apps = admin === null ? [app] : [app, admin];
  try {
    await listen(app, settings.host, settings.port);
    if (admin !== null) await listen(admin, settings.adminHost, settings.adminPort ?? 0);
  } catch (error) {
    await serving.batching?.close();
    for (const each of apps) await each.close();
    throw error;
  }
  let closing: Promise<void> | null = null;
  return {
    url: urlOf(app),
    adminUrl: admin === null ? null : urlOf(admin),
    ready: warmUp(serving),
    close() {
      closing ??= drain(apps, serving, exchanges);
      return closing;
    },
  };
}

async function listen(app: FastifyInstance, host: string, port: number): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    throw new BitNetError(
      "IO_FAILED",
      `server: cannot listen on ${host}:${port}: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

interface PreparedServer {
  app: FastifyInstance;
  /** Null where all routes are on one port. */
  admin: FastifyInstance | null;
  serving: Serving;
  exchanges: Set<Exchange>;
}

/** A server that does not listen yet. */
export async function prepareServer(options: ServerOptions): Promise<PreparedServer> {
  const settings: ServerSettings = { ...defaultSettings, log: () => {}, ...options };
  const requestLog = settings.logStream === null ? null : createRequestLog(settings.logStream);
  if (requestLog !== null) settings.log = (line) => requestLog.warn(line);
  if (settings.models.length === 0)
    throw new BitNetError("INVALID_ARGUMENT", "server: it needs at least one model");
  checkOrigins(settings.corsOrigins);
  const hosts = settings.adminPort === null ? [settings.host] : [settings.host, settings.adminHost];
  const open = hosts.find((host) => !isLoopbackAddress(host));
  if (open !== undefined && settings.keysFile === null)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `server: ${open} is reachable from outside, which needs keys; make one with "bitnet keys create" and name its file with --keys`,
    );
  const version = options.version ?? "0";
  const { cache, dataFolder, log } = settings;
  const { leaseMs } = settings.batches;
  const shared =
    settings.redis === null ? null : await openShared(settings.redis, { cache, leaseMs, version, log });
  let folder: DataFolder | null = null;
  try {
    const keys = await openRing(settings, shared);
    // Before anything reads or writes in it: another server may have it.
    folder = dataFolder === null ? null : await openDataFolder(dataFolder, shared !== null);
    return await assemble({ settings, version, requestLog, shared, keys, folder });
  } catch (error) {
    await folder?.close();
    shared?.close();
    throw error;
  }
}

interface OpenedParts extends Pick<Serving, "settings" | "version" | "requestLog" | "shared" | "keys"> {
  readonly folder: DataFolder | null;
}

async function assemble(parts: OpenedParts): Promise<PreparedServer> {
  const { settings, version, requestLog, shared, keys, folder } = parts;
  const { cache, log } = settings;
  const models = new Models(settings.models, settings.aliases, settings.memoryLimitBytes);
  const admission = new Admission(settings);
  const serving: Serving = {
    shared,
    settings,
    models,
    pulls: new Pulls(settings.pull, models, {
      kept: settings.dataFolder === null ? null : new PulledModels(settings.dataFolder),
      log,
    }),
    admission,
    watching: await openWatching({
      version,
      models,
      admission,
      batches: () => serving.batching?.runner.stats.batches ?? 0,
      settings: settings.monitor,
      folder: settings.dataFolder,
      ownBytes: programBytes + cache.maxBytes + settings.maxQueuedBytes,
      memoryLimitBytes: settings.memoryLimitBytes,
      isShared: shared !== null,
      port: settings.port,
      traces: settings.traces,
      log: settings.log,
    }),
    keys,
    accounts: new Accounts(shared?.limits),
    cache: new AnswerCache(cache, shared?.cache),
    security: await Security.open(settings.security, settings.log),
    answers: new AnswerStore(shared?.answers),
    startedAt: new Date(),
    version,
    requestLog,
    batching: null,
    inner: new InnerClients(),
    state: "loading",
  };
  const exchanges = new Set<Exchange>();
  const hasAdmin = settings.adminPort !== null;
  const app = createApp(serving, exchanges, hasAdmin ? routes.filter((route) => !isAdmin(route)) : routes);
  const admin = hasAdmin ? createApp(serving, exchanges, routes.filter(isAdmin)) : null;
  if (folder !== null)
    serving.batching = await openBatching(app, serving, { folder, leases: shared?.leases ?? null });
  await serving.pulls.restore();
  return { app, admin, serving, exchanges };
}

async function openRing({ keysFile, log }: ServerSettings, shared: Shared | null): Promise<KeyRing | null> {
  if (keysFile === null) return null;
  const store = await serverKeys(keysFile, shared?.link ?? null, log);
  const ring = await KeyRing.open(store);
  if (ring.size > 0) return ring;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `server: ${store.name} holds no key; make one with "bitnet keys create"`,
  );
}

function urlOf(app: FastifyInstance): string {
  const { address, port, family } = app.server.address() as AddressInfo;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}

/** Loads the first model and lets it generate a token, so that the first request finds everything in place. */
export async function warmUp(serving: Serving): Promise<void> {
  const lease = await serving.models.acquire(undefined);
  try {
    const { tokenizer } = lease.model;
    const id = tokenizer.bosId ?? 0;
    if (lease.model.info.canGenerate)
      await lease.model.generate([id], { maxTokens: 1, temperature: 0 }).result;
    else await lease.model.embed([[id]]);
    if (serving.state === "loading") serving.state = "ready";
  } finally {
    lease.release();
  }
}

function createApp(serving: Serving, exchanges: Set<Exchange>, served: readonly Route[]): FastifyInstance {
  const { settings } = serving;
  const app = Fastify({
    ...(serving.requestLog === null ? {} : { loggerInstance: serving.requestLog }),
    trustProxy: (_address: string, hop: number) => hop < settings.trustedHops,
    bodyLimit: settings.maxBodyBytes,
    requestTimeout: settings.dataFolder === null ? 30_000 : settings.batches.uploadMs,
    http: { headersTimeout: 20_000, maxHeaderSize: 16_384 },
    genReqId: () => `req_${randomUUID().replaceAll("-", "")}`,
    routerOptions: { maxParamLength: 256, ignoreTrailingSlash: true },
    exposeHeadRoutes: true,
    return503OnClosing: false,
    forceCloseConnections: false,
    frameworkErrors: (error, request, reply) => deny(serving, error, { request, reply, route: "none" }),
    clientErrorHandler: answerBrokenRequest,
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  acceptUploads(app);
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
    reply.header("request-id", request.id);
    reply.header("x-content-type-options", "nosniff");
    if (serving.state === "draining") reply.header("connection", "close");
  });
  const denied = (request: FastifyRequest, reply: FastifyReply, thrown: unknown) =>
    deny(serving, thrown, { request, reply, route: request.routeOptions.url ?? "none" });
  app.setErrorHandler((error, request, reply) => denied(request, reply, error));
  app.setNotFoundHandler((request, reply) => {
    const path = JSON.stringify(request.url.split("?")[0]?.slice(0, 100));
    denied(request, reply, new ServeError("NOT_FOUND", `${request.method} ${path} does not exist`));
  });
  app.addHook("onRequest", async (request, reply) => {
    const { host, origin } = request.headers;
    if (settings.keysFile === null) checkHost(host, settings);
    if (!isAllowedOrigin(origin, host, settings))
      throw new ServeError("FORBIDDEN", "pages of this origin may not ask here");
    if (origin !== undefined && settings.corsOrigins.length > 0) {
      reply.header("access-control-allow-origin", settings.corsOrigins.includes("*") ? "*" : origin);
      reply.header("vary", "origin");
      // Else pages see neither when to try again nor the id of a request.
      reply.header("access-control-expose-headers", "*");
    }
  });
  app.options("/*", async (_request, reply) => {
    reply.header("access-control-allow-methods", "GET, POST, DELETE");
    reply.header("access-control-allow-headers", "*, authorization, content-type, x-api-key");
    reply.header("access-control-max-age", "600");
    reply.code(204).send();
  });
  for (const route of served) addRoute(app, route, serving, exchanges);
  addPage(app);
  return app;
}

/** Answers what no route's handler has seen: wrong keys and names, pages of others, models that are not there yet. It counts like all other requests. */
function deny(
  serving: Serving,
  thrown: unknown,
  { request, reply, route }: { request: FastifyRequest; reply: FastifyReply; route: string },
): void {
  const error = toServeError(thrown);
  serving.security.refused(error, { id: request.id, address: `address ${addressOf(request.ip)}`, route });
  const dialect = dialectOf(request.url);
  sendError(reply, dialect, error, request.id);
  serving.watching.activity.request({
    ...{ route, status: statusIn(dialect, error), ms: 0, id: request.id, method: request.method },
    ...{ isAnswer: false, isBackground: false, traceparent: undefined, endedAt: Date.now(), answers: [] },
    errorCode: error.code,
  });
}

/** Asked for every few seconds by machines. */
function isProbe({ path }: Route): boolean {
  return path.startsWith("/health") || path === "/metrics" || path === "/monitor/live";
}

function addRoute(app: FastifyInstance, route: Route, serving: Serving, exchanges: Set<Exchange>): void {
  const clients = new WeakMap<FastifyRequest, Client>();
  const identities = {
    keys: route.isPublic === true ? null : serving.keys,
    accounts: serving.accounts,
    limits: serving.settings.limits,
  };
  app.route({
    method: route.method,
    logLevel: isProbe(route) ? "silent" : "info",
    url: route.path,
    onRequest: async (request) => {
      clients.set(request, serving.inner.find(request) ?? (await identify(request, identities)));
      if (route.needs === "model" && serving.state !== "ready") throw notReady(serving.state);
    },
    handler: async (request, reply) => {
      const client = clients.get(request) ?? (await identify(request, identities));
      const start = performance.now();
      const exchange = new Exchange({ serving, request, reply, dialect: dialectOf(request.url), client });
      exchanges.add(exchange);
      try {
        await route.handle(exchange);
      } catch (error) {
        exchange.fail(error);
      } finally {
        exchanges.delete(exchange);
        exchange.end();
        if (!isProbe(route)) serving.security.ended(exchange, route.path, performance.now() - start);
        serving.watching.activity.request({
          route: route.path,
          status: exchange.failure?.status ?? reply.statusCode,
          ms: performance.now() - start,
          isAnswer: route.needs === "model" && route.method === "POST",
          isBackground: client.background !== undefined,
          id: exchange.id,
          method: route.method,
          traceparent: request.headers.traceparent as string | undefined,
          endedAt: Date.now(),
          errorCode: exchange.failure?.code ?? null,
          answers: exchange.answers,
        });
      }
      return reply;
    },
  });
}

/**
 * Refuses new requests, waits for those that run or wait, cuts off the rest when time is up, and closes. Idle connections are closed
 * again and again meanwhile, since clients keep them open.
 */
async function drain(
  apps: readonly FastifyInstance[],
  serving: Serving,
  exchanges: ReadonlySet<Exchange>,
): Promise<void> {
  serving.state = "draining";
  await serving.batching?.close();
  const closeIdle = setInterval(() => {
    for (const app of apps) app.server.closeIdleConnections();
  }, 50);
  try {
    await endExchanges(serving, exchanges);
    const closed = Promise.all(apps.map((app) => app.close()));
    const cut = setTimeout(() => {
      for (const app of apps) app.server.closeAllConnections();
    }, 2000);
    await closed;
    clearTimeout(cut);
    // Until now requests ended, of which there are spans, and held places.
    await serving.watching.close();
    serving.shared?.close();
    await serving.models.dispose();
    await serving.security.audit?.close();
  } finally {
    clearInterval(closeIdle);
  }
}
