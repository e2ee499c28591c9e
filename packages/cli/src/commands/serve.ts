/** `bitnet serve`: an HTTP server for the clients of OpenAI, Anthropic and Ollama. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import {
  defaultKeysFile,
  defaultSettings,
  describePlan,
  type ProfileName,
  type ProfilePlan,
  programBytes,
  type ServedModel,
  type ServerOptions,
  startServer,
} from "@bitnet.ts/server";
import type { Command } from "commander";
import { modelSource, namingSource } from "../load-model.ts";
import { addOperationOptions, type OperationFlags, operationSettings } from "../operation-flags.ts";
import { addModelOptions, loadOptions, type ModelFlags, modelOption, option } from "../options.ts";
import { placeAdapters } from "../place-adapters.ts";
import { planFor, plannedOptions, profileOption } from "../profile.ts";
import { addSecurityOptions, applySecure, type SecurityFlags, securitySettings } from "../security-flags.ts";
import type { Session } from "../session.ts";
import { collect, parseBytes, parseInteger } from "../values.ts";

interface ServeFlags extends Omit<ModelFlags, "model"> {
  model?: readonly string[];
  lora?: readonly string[];
  allowPull?: readonly string[];
  pullLimit: number;
  profile?: ProfileName;
  memoryLimit?: number;
  cacheBytes: number;
  cacheAge: number;
  host: string;
  port?: number;
  alias?: readonly string[];
  ollama?: boolean;
  parallel: number;
  maxQueued: number;
  timeout: number;
  queueTimeout: number;
  drainTimeout: number;
  maxBody: number;
  maxPrompt: number;
  maxTokens: number;
  allowHost?: readonly string[];
  cors?: readonly string[];
  keys?: string;
  requestsPerMinute?: number;
  tokensPerMinute?: number;
  trustProxy: number;
  stallTimeout: number;
}

type AllFlags = ServeFlags & OperationFlags & SecurityFlags;

const ollamaPort = 11_434;

export function registerServe(program: Command, version: string, session: Session): void {
  const d = defaultSettings;
  const command = program
    .command("serve")
    .description("serve a model over HTTP to clients of OpenAI, Anthropic and Ollama")
    .addOption(
      option("--host <address>", "address to listen on; any but loopback needs --keys").default(d.host),
    )
    .addOption(
      option("--port <port>", `port; 0: any that is free (default: ${d.port})`).argParser(
        parseInteger(0, 65_535),
      ),
    )
    .addOption(option("--ollama", `listen on Ollama's port, ${ollamaPort}`))
    .addOption(
      option(
        "-a, --alias <names>",
        "further names of the model, separated by commas; '*': every name",
      ).argParser(collect),
    )
    .addOption(number("--parallel <n>", "requests that run at once", 1, 512, d.parallel))
    .addOption(number("--max-queued <n>", "requests that may wait for their turn", 0, 1_000_000, d.maxQueued))
    .addOption(
      number("--queue-timeout <s>", "longest wait for a turn in seconds", 1, 86_400, d.queueTimeoutMs / 1000),
    )
    .addOption(number("--timeout <s>", "longest time of a request in seconds", 1, 86_400, d.timeoutMs / 1000))
    .addOption(
      number(
        "--drain-timeout <s>",
        "time that running requests get after SIGTERM in seconds",
        0,
        86_400,
        d.drainMs / 1000,
      ),
    )
    .addOption(number("--max-body <bytes>", "largest body of a request", 1024, 2 ** 30, d.maxBodyBytes))
    .addOption(number("--max-prompt <characters>", "longest prompt", 1, 2 ** 30, d.maxPromptCharacters))
    .addOption(number("--max-tokens <n>", "longest answer in tokens", 1, 2 ** 30, d.maxOutputTokens))
    .addOption(
      option("--allow-host <name>", "serve under this host name as well; repeatable").argParser(collect),
    )
    .addOption(
      option("--cors <origin>", "let pages of this origin ask; '*': all; repeatable").argParser(collect),
    );
  command
    .addOption(
      option(
        "--lora <name=path>",
        "LoRA adapter that is used when a request names it as its model, for the first model that it fits; NAME@MODEL=PATH for a certain one; repeatable",
      ).argParser(collect),
    )
    .addOption(
      option(
        "--allow-pull <owner/name>",
        "let clients bring this model from the hub, and delete it again; owner/*, or '*' for all; repeatable",
      ).argParser(collect),
    )
    .addOption(
      option("--pull-limit <bytes>", "what the hub's cache may hold then")
        .argParser(parseBytes)
        .default(d.pull.maxCacheBytes),
    )
    .addOption(
      option(
        "--keys <file>",
        "file of API keys; redis: for keys in --redis (default: that of bitnet keys, once there is one)",
      ),
    )
    .addOption(
      option("--requests-per-minute <n>", "limit of clients that have none of their own").argParser(
        parseInteger(1),
      ),
    )
    .addOption(
      option("--tokens-per-minute <n>", "the same for tokens, prompts included").argParser(parseInteger(1)),
    )
    .addOption(
      number("--trust-proxy <hops>", "proxies whose X-Forwarded-For is believed", 0, 16, d.trustedHops),
    )
    .addOption(
      number(
        "--stall-timeout <s>",
        "cut off a client that takes nothing of its answer for so long",
        1,
        86_400,
        d.stallMs / 1000,
      ),
    );
  addOperationOptions(command);
  addSecurityOptions(command);
  command
    .addOption(profileOption())
    .addOption(
      option(
        "--memory-limit <bytes>",
        "what all loaded models may take; those that rest make room",
      ).argParser(parseBytes),
    )
    .addOption(
      option(
        "--cache-bytes <bytes>",
        "room for answers that a seed or temperature 0 determines; 0: none are kept",
      )
        .argParser(parseBytes)
        .default(d.cache.maxBytes),
    )
    .addOption(number("--cache-age <s>", "how long they are kept", 1, 31_536_000, d.cache.maxAgeMs / 1000));
  const model = modelOption().argParser(collect);
  model.description = model.description.replace(
    "GGUF file",
    "repeatable, NAME=MODEL to give it a name; the first is loaded at the start: GGUF file",
  );
  addModelOptions(command, { model }).action((given: AllFlags) => {
    const flags = applySecure(command, given);
    // A flag at its default has not been given, so that a profile may choose.
    return serve(flags, givenOf(command, flags), version, session);
  });
}

function number(flags: string, description: string, lowest: number, highest: number, byDefault: number) {
  return option(flags, description).argParser(parseInteger(lowest, highest)).default(byDefault);
}

async function serve(flags: AllFlags, given: GivenFlags, version: string, session: Session): Promise<void> {
  const models = await placeAdapters(servedModels(flags, session), flags.lora ?? []);
  const planned = await applyProfile(given, models, session);
  const server = await startServer({
    ...settingsOf(flags, session),
    ...planned,
    ...securitySettings(flags),
    ...operationSettings(flags, session),
    models,
    version,
  });
  await session.write(`listening on ${server.url}\n`);
  if (server.adminUrl !== null) await session.write(`admin on ${server.adminUrl}\n`);
  try {
    await Promise.race([server.ready, untilEnded(session.signal)]);
    if (!session.signal.aborted) await session.write("ready\n");
    await untilEnded(session.signal);
  } catch (error) {
    throw namingSource(error, models[0]?.source ?? "");
  } finally {
    if (session.endedBy !== null) session.note("bitnet: ending; a second signal ends at once");
    await server.close();
  }
  // A server that was told to end, and did so in order, has not failed.
}

export function servedModel(source: string, flags: Omit<ModelFlags, "model">, session: Session): ServedModel {
  return { name: nameOf(source), source, options: { ...loadOptions(flags), onNotice: session.note } };
}

type GivenFlags = Omit<ServeFlags, "parallel" | "maxQueued" | "maxTokens"> &
  Partial<Pick<ServeFlags, "parallel" | "maxQueued" | "maxTokens">>;

function givenOf(command: Command, flags: AllFlags): GivenFlags {
  const { parallel, maxQueued, maxTokens, ...rest } = flags;
  const isGiven = (name: string) =>
    command.getOptionValueSource(name) !== "default" || (name === "maxTokens" && flags.secure === true);
  return {
    ...rest,
    ...(isGiven("parallel") ? { parallel } : {}),
    ...(isGiven("maxQueued") ? { maxQueued } : {}),
    ...(isGiven("maxTokens") ? { maxTokens } : {}),
  };
}

/** Every model is planned for the whole memory, in which they take turns; the server's own settings are those for the first. */
async function applyProfile(
  flags: GivenFlags,
  models: readonly ServedModel[],
  session: Session,
): Promise<Partial<ServerOptions>> {
  if (flags.profile === undefined) return {};
  const plans: ProfilePlan[] = [];
  for (const model of models) {
    const plan = await planFor(flags.profile, model.source, flags, model.options.adapters ?? {});
    model.options = { ...model.options, ...plannedOptions(plan) };
    plans.push(plan);
    await session.write(`${models.length > 1 ? `${model.name}: ` : ""}${describePlan(plan)}\n`);
  }
  const [first] = plans;
  if (first === undefined) return {};
  return {
    parallel: first.parallel,
    maxQueued: flags.maxQueued ?? first.maxQueued,
    maxOutputTokens: flags.maxTokens ?? first.maxOutputTokens,
    memoryLimitBytes: first.memoryBytes - programBytes,
  };
}

function servedModels({ model: given, ...flags }: ServeFlags, session: Session): ServedModel[] {
  if (given === undefined) return [servedModel(modelSource({}), flags, session)];
  const models = given.map((text) => {
    const [, name, path] = (existsSync(text) ? null : /^([\w.:/-]{1,128})=(.+)$/.exec(text)) ?? [];
    const served = servedModel(modelSource({ model: path ?? text }), flags, session);
    return name === undefined ? served : { ...served, name };
  });
  const names = models.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `--model: two models have the name ${JSON.stringify(twice)}; give them names, NAME=MODEL`,
    );
  return models;
}

/** The file's name, the way clients will ask for it. */
function nameOf(source: string): string {
  return basename(source).replace(/\.gguf$/i, "") || source;
}

function settingsOf(flags: ServeFlags, session: Session): Omit<ServerOptions, "models" | "version"> {
  if (flags.ollama && flags.port !== undefined)
    throw new BitNetError("INVALID_ARGUMENT", "--ollama and --port both name a port; give one of them");
  const split = (lists: readonly string[] | undefined) =>
    (lists ?? [])
      .flatMap((list) => list.split(","))
      .map((each) => each.trim())
      .filter((each) => each !== "");
  return {
    host: flags.host,
    port: flags.port ?? (flags.ollama ? ollamaPort : defaultSettings.port),
    aliases: split(flags.alias),
    parallel: flags.parallel,
    maxQueued: flags.maxQueued,
    queueTimeoutMs: flags.queueTimeout * 1000,
    timeoutMs: flags.timeout * 1000,
    drainMs: flags.drainTimeout * 1000,
    maxBodyBytes: flags.maxBody,
    maxPromptCharacters: flags.maxPrompt,
    maxOutputTokens: flags.maxTokens,
    allowedHosts: split(flags.allowHost).map((name) => name.toLowerCase()),
    corsOrigins: split(flags.cors),
    keysFile: keysFileOf(flags),
    trustedHops: flags.trustProxy,
    stallMs: flags.stallTimeout * 1000,
    memoryLimitBytes: flags.memoryLimit ?? null,
    pull: { allowed: split(flags.allowPull).map(checkPattern), maxCacheBytes: flags.pullLimit },
    cache: { maxBytes: flags.cacheBytes, maxAgeMs: flags.cacheAge * 1000 },
    limits: {
      ...(flags.requestsPerMinute === undefined ? {} : { requestsPerMinute: flags.requestsPerMinute }),
      ...(flags.tokensPerMinute === undefined ? {} : { tokensPerMinute: flags.tokensPerMinute }),
    },
    log: session.note,
  };
}

function checkPattern(pattern: string): string {
  if (/^(?:\*|[\w.-]{1,96}\/(?:\*|[\w.-]{1,96}))$/.test(pattern)) return pattern;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `--allow-pull ${JSON.stringify(pattern)}: expected owner/name, owner/* or *`,
  );
}

/** Once a key exists, every request needs one. */
function keysFileOf({ keys }: ServeFlags): string | null {
  if (keys !== undefined) return keys;
  return existsSync(defaultKeysFile()) ? defaultKeysFile() : null;
}

function untilEnded(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
