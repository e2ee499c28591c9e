/** Where the Redis of servers is, and its password, which does not belong where others can read it: into lists of processes and logs. */
import { BitNetError } from "@bitnet.ts/core";
import type { Command } from "commander";
import { option } from "./options.ts";
import { readSmallFile } from "./read-small-file.ts";

export interface RedisFlags {
  redis?: string;
  redisPasswordFile?: string;
}

export function addRedisOptions(command: Command, what: string): void {
  command
    .addOption(option("--redis <url>", what))
    .addOption(option("--redis-password-file <file>", "file whose first line is the password for --redis"));
}

/**
 * The URL with its password; null without one. A password that was given as a flag is taken out of the list of processes.
 * @throws BitNetError INVALID_ARGUMENT, FILE_NOT_FOUND.
 */
export function redisUrl(
  { redis, redisPasswordFile }: RedisFlags,
  note: (line: string) => void,
): string | null {
  if (redis === undefined) {
    if (redisPasswordFile === undefined) return null;
    throw new BitNetError("INVALID_ARGUMENT", "--redis-password-file is about --redis; name that, too");
  }
  if (redisPasswordFile === undefined) {
    hideFromProcessList(redis, note);
    return redis;
  }
  const url = URL.canParse(redis) ? new URL(redis) : null;
  if (url === null || url.hostname === "" || url.password !== "")
    throw new BitNetError(
      "INVALID_ARGUMENT",
      "--redis-password-file: expected --redis redis://host:port or rediss://… without a password",
    );
  url.password = encodeURIComponent(readPassword(redisPasswordFile));
  return url.href;
}

function readPassword(path: string): string {
  const text = readSmallFile(path, "the password for --redis");
  const [password = ""] = text.split(/\r?\n/);
  if (password !== "") return password;
  throw new BitNetError("INVALID_ARGUMENT", `${path}: expected the password for --redis in its first line`);
}

function hideFromProcessList(redis: string, note: (line: string) => void): void {
  const holdsSecret = /^rediss?:\/\/[^/]*@|[?&]password=/i.test(redis);
  if (!holdsSecret || !process.argv.some((argument) => argument.includes(redis))) return;
  process.title = "bitnet";
  note(
    "bitnet: a password among the arguments could be seen for a moment; BITNET_REDIS and --redis-password-file do not show it",
  );
}
