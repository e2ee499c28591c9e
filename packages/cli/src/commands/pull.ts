/** `bitnet pull`: brings a model from a hub into the cache that Hugging Face's tools share, or into a folder. */
import { sourceOfAlias } from "bitnet.ts/hub";
import type { Command } from "commander";
import { formatBytes } from "../format.ts";
import { jsonOption, option } from "../options.ts";
import { pullWithStatus } from "../pull-model.ts";
import type { Session } from "../session.ts";

interface PullFlags {
  revision?: string;
  token?: string;
  dir?: string;
  json?: boolean;
}

export function registerPull(program: Command, session: Session): void {
  program
    .command("pull")
    .description("download a model, or continue a download")
    .argument("<model>", "owner/name, owner/name:file, a page's address, or a short name (bitnet models)")
    .addOption(option("--revision <name>", "branch, tag or commit (default: main)"))
    .addOption(option("--token <token>", "access token (default: HF_TOKEN, or that of Hugging Face's tools)"))
    .addOption(option("--dir <folder>", "put the files there instead of into the cache"))
    .addOption(jsonOption("what is there now"))
    .action((model: string, flags: PullFlags) => pullCommand(model, flags, session));
}

async function pullCommand(model: string, { json, ...flags }: PullFlags, session: Session): Promise<void> {
  const pulled = await pullWithStatus(sourceOfAlias(model) ?? model, session, flags);
  const bytes = pulled.files.reduce((sum, { size }) => sum + size, 0);
  if (!json)
    session.note(
      `${pulled.repo} ${pulled.commit.slice(0, 12)}: ${formatBytes(bytes)}${pulled.isFromCache ? ", from the cache" : ""}`,
    );
  await session.write(json ? `${JSON.stringify(pulled)}\n` : `${pulled.path}\n`);
}
