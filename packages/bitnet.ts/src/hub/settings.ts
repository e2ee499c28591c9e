/**
 * Where the hub is, where its cache lies and who asks: from the environment variables of Hugging Face's own tools, so that both use
 * one cache. Source: "Environment variables" in the documentation of huggingface_hub.
 */
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { checkToken, defaultEndpoint, parseEndpoint } from "./hub-place.ts";

export interface HubSettings {
  /** Origin and path without a slash at the end. */
  endpoint: string;
  /** Folder of the cache: `models--owner--name` lie in it. */
  cacheDir: string;
  token: string | null;
  /** Nothing is asked of the network. */
  isOffline: boolean;
  /** A connection that sends nothing for so long counts as broken. */
  stallMs: number;
  /** "here": by hand and checked. "fetch": by browsers, which show nobody where to, but keep the token and mixed content back. */
  followsRedirects: "here" | "fetch";
}

const defaultStallMs = 20_000;

/**
 * Without looking for a home, which not every runtime gives away unasked.
 * @throws BitNetError INVALID_ARGUMENT for what is no address.
 */
export function hubEndpoint(env: NodeJS.ProcessEnv = process.env): string {
  return parseEndpoint(value(env, "HF_ENDPOINT") ?? defaultEndpoint, "HF_ENDPOINT");
}

/** @throws BitNetError INVALID_ARGUMENT for values that cannot be what they should. */
export async function hubSettings(env: NodeJS.ProcessEnv = process.env): Promise<HubSettings> {
  const home = homeFolder(env);
  return {
    endpoint: hubEndpoint(env),
    cacheDir: resolve(value(env, "HF_HUB_CACHE") ?? value(env, "HUGGINGFACE_HUB_CACHE") ?? join(home, "hub")),
    token: await findToken(env, home),
    isOffline: isSet(env, "HF_HUB_OFFLINE") || isSet(env, "TRANSFORMERS_OFFLINE"),
    stallMs: parseStall(value(env, "HF_HUB_DOWNLOAD_TIMEOUT")),
    followsRedirects: "here",
  };
}

function homeFolder(env: NodeJS.ProcessEnv): string {
  const cache = value(env, "XDG_CACHE_HOME") ?? join(homedir(), ".cache");
  const named = value(env, "HF_HOME") ?? join(cache, "huggingface");
  return resolve(named.replace(/^~(?=\/|$)/, () => homedir()));
}

/** HF_TOKEN, else the file where the tools' login keeps it. */
async function findToken(env: NodeJS.ProcessEnv, home: string): Promise<string | null> {
  const given = value(env, "HF_TOKEN") ?? value(env, "HUGGING_FACE_HUB_TOKEN");
  if (given !== undefined) return checkToken(given, "HF_TOKEN");
  if (isSet(env, "HF_HUB_DISABLE_IMPLICIT_TOKEN")) return null;
  const path = value(env, "HF_TOKEN_PATH") ?? join(home, "token");
  const text = (await readFile(path, "utf8").catch(() => "")).trim();
  return text === "" ? null : checkToken(text, path);
}

function parseStall(text: string | undefined): number {
  if (text === undefined) return defaultStallMs;
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 86_400) return seconds * 1000;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `HF_HUB_DOWNLOAD_TIMEOUT is ${JSON.stringify(text.slice(0, 40))}, expected seconds above 0`,
  );
}

function value(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const text = env[name];
  return text === undefined || text.trim() === "" ? undefined : text;
}

function isSet(env: NodeJS.ProcessEnv, name: string): boolean {
  return /^(1|on|yes|true)$/i.test(env[name]?.trim() ?? "");
}
