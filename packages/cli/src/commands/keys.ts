/** `bitnet keys`: makes, lists and revokes the API keys of `bitnet serve`. */
import { createKey, defaultKeysFile, type KeyLimits, openKeys, revokeKey } from "@bitnet.ts/server";
import type { Command } from "commander";
import { formatTable, printable } from "../format.ts";
import { jsonOption, option } from "../options.ts";
import { addRedisOptions, type RedisFlags, redisUrl } from "../redis-place.ts";
import type { Session } from "../session.ts";
import { parseInteger } from "../values.ts";

interface KeysFlags extends RedisFlags {
  keys?: string;
  json?: boolean;
}

interface CreateFlags extends KeysFlags {
  tenant?: string;
  requestsPerMinute?: number;
  tokensPerMinute?: number;
  concurrent?: number;
}

export function registerKeys(program: Command, session: Session): void {
  const keys = program.command("keys").description("make, list and revoke the API keys of bitnet serve");
  const fileOption = () =>
    option("--keys <file>", `file of the keys; redis: for keys in --redis (default: ${defaultKeysFile()})`);
  const addPlace = (command: Command) =>
    addRedisOptions(command.addOption(fileOption()), "the Redis of the servers, with --keys redis:");
  const making = keys
    .command("create")
    .description("make a key and print it; it is not shown again")
    .argument("<name>", "whose key it is")
    .addOption(option("--tenant <name>", "keys of one tenant share caches (default: a tenant of its own)"))
    .addOption(option("--requests-per-minute <n>", "limit").argParser(parseInteger(1)))
    .addOption(option("--tokens-per-minute <n>", "limit, prompts included").argParser(parseInteger(1)))
    .addOption(option("--concurrent <n>", "requests at once").argParser(parseInteger(1)))
    .addOption(jsonOption("the key and its id"))
    .action((name: string, flags: CreateFlags) => create(name, flags, session));
  const listing = keys
    .command("list")
    .description("list the keys")
    .addOption(jsonOption("the keys without their hashes"))
    .action((flags: KeysFlags) => list(flags, session));
  const revoking = keys
    .command("revoke")
    .description("take a key back; running servers follow within a second")
    .argument("<id>", "as bitnet keys list shows it")
    .action((id: string, flags: KeysFlags) => withKeys(flags, session, (store) => revokeKey(store, id)));
  for (const command of [making, listing, revoking]) addPlace(command);
}

async function withKeys<T>(
  flags: KeysFlags,
  session: Session,
  act: (store: Parameters<typeof createKey>[0]) => Promise<T>,
): Promise<T> {
  const store = await openKeys(flags.keys ?? defaultKeysFile(), redisUrl(flags, session.note), session.note);
  try {
    return await act(store);
  } finally {
    store.close();
  }
}

async function create(name: string, flags: CreateFlags, session: Session): Promise<void> {
  const { requestsPerMinute, tokensPerMinute, concurrent } = flags;
  const limits: KeyLimits = {
    ...(requestsPerMinute === undefined ? {} : { requestsPerMinute }),
    ...(tokensPerMinute === undefined ? {} : { tokensPerMinute }),
    ...(concurrent === undefined ? {} : { concurrent }),
  };
  const { record, key } = await withKeys(flags, session, (store) =>
    createKey(store, { name, tenant: flags.tenant, limits }),
  );
  await session.write(flags.json ? `${JSON.stringify({ id: record.id, key })}\n` : `${key}\n`);
}

async function list(flags: KeysFlags, session: Session): Promise<void> {
  const keys = await withKeys(flags, session, (store) => store.read());
  if (flags.json) {
    const shown = keys.map(({ hash: _, ...rest }) => rest);
    await session.write(`${JSON.stringify({ keys: shown })}\n`);
    return;
  }
  const rows = keys.map(({ id, name, tenant, createdAt, limits }) => [
    id,
    printable(name),
    printable(tenant),
    createdAt,
    Object.entries(limits)
      .map(([what, value]) => `${what} ${value}`)
      .join(", "),
  ]);
  if (rows.length > 0) await session.write(`${formatTable(rows)}\n`);
}
