/** The flags of `bitnet serve` for those who must keep things out: the content filter, the audit log, a port of one's own. */
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { BitNetError } from "@bitnet.ts/core";
import { defaultKeysFile, defaultSettings, type ServerOptions } from "@bitnet.ts/server";
import type { Command } from "commander";
import { option } from "./options.ts";
import { parseInteger } from "./values.ts";

export interface SecurityFlags {
  secure?: boolean;
  filter?: string;
  sanitize?: boolean;
  sanitizePatterns?: string;
  auditLog?: string;
  auditTexts?: boolean;
  auditMaxBytes: number;
  auditFiles: number;
  adminPort?: number;
  adminHost: string;
}

export function addSecurityOptions(command: Command): void {
  command
    .addOption(
      option(
        "--secure",
        "prompts of 4096 characters, answers of 1024 tokens, 60 requests a minute, no secrets in or out, --sanitize and an audit log, where no flag says otherwise",
      ),
    )
    .addOption(
      option("--filter <file>", "rules of the content filter, for what is asked and what is answered"),
    )
    .addOption(option("--sanitize", "take scripts, frames and javascript: out of what clients send"))
    .addOption(option("--sanitize-patterns <file>", "take out what this file's patterns match, instead"))
    .addOption(
      option(
        "--audit-log <file>",
        "a line of JSON for every request; clients by a hash keyed with BITNET_AUDIT_SECRET",
      ),
    )
    .addOption(option("--audit-texts", "prompts and answers in the audit log, too"))
    .addOption(
      option("--audit-max-bytes <n>", "size at which the audit log is put aside and a new one begun")
        .argParser(parseInteger(1024))
        .default(64 * 2 ** 20),
    )
    .addOption(
      option("--audit-files <n>", "audit logs put aside that are kept")
        .argParser(parseInteger(0, 1000))
        .default(5),
    )
    .addOption(
      option(
        "--admin-port <port>",
        "metrics, monitor, /stats and /security on this port alone; 0: any that is free",
      ).argParser(parseInteger(0, 65_535)),
    )
    .addOption(option("--admin-host <address>", "address of that port").default(defaultSettings.adminHost));
}

/** What `--secure` stands for; flags that were given win. */
interface SecuredFlags extends SecurityFlags {
  maxPrompt: number;
  maxTokens: number;
  requestsPerMinute?: number;
  data?: string;
}

export function applySecure<F extends SecuredFlags>(command: Command, flags: F): F {
  if (flags.secure !== true) return flags;
  const isGiven = (name: string) => command.getOptionValueSource(name) !== "default";
  const folder = flags.data ?? dirname(defaultKeysFile());
  if (flags.auditLog === undefined) mkdirSync(folder, { recursive: true, mode: 0o700 });
  return {
    ...flags,
    maxPrompt: isGiven("maxPrompt") ? flags.maxPrompt : 4096,
    maxTokens: isGiven("maxTokens") ? flags.maxTokens : 1024,
    requestsPerMinute: flags.requestsPerMinute ?? 60,
    sanitize: true,
    auditLog: flags.auditLog ?? join(folder, "audit.log"),
  };
}

export function securitySettings(flags: SecurityFlags): Partial<ServerOptions> {
  if (flags.auditTexts && flags.auditLog === undefined)
    throw new BitNetError("INVALID_ARGUMENT", "--audit-texts: name the file of the log with --audit-log");
  return {
    security: {
      filterFile: flags.filter ?? null,
      filtersSecrets: flags.secure ?? false,
      sanitizes: flags.sanitize === true || flags.sanitizePatterns !== undefined,
      sanitizeFile: flags.sanitizePatterns ?? null,
      audit:
        flags.auditLog === undefined
          ? null
          : {
              file: flags.auditLog,
              secret: process.env.BITNET_AUDIT_SECRET || null,
              withTexts: flags.auditTexts ?? false,
              maxBytes: flags.auditMaxBytes,
              maxFiles: flags.auditFiles,
            },
    },
    adminPort: flags.adminPort ?? null,
    adminHost: flags.adminHost,
  };
}
