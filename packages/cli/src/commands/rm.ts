/** `bitnet rm`: removes a model, or one file or revision of it, from the cache. */
import { hubSettings, parseHubReference, removeFromCache, sourceOfAlias } from "bitnet.ts/hub";
import type { Command } from "commander";
import { formatBytes } from "../format.ts";
import { jsonOption, option } from "../options.ts";
import type { Session } from "../session.ts";

interface RmFlags {
  revision?: string;
  json?: boolean;
}

export function registerRm(program: Command, session: Session): void {
  program
    .command("rm")
    .description("remove a model from the cache")
    .argument("<model>", "owner/name, owner/name:file, or a short name (bitnet models)")
    .addOption(option("--revision <name>", "only this branch, tag or commit"))
    .addOption(jsonOption("the bytes that became free"))
    .action((model: string, flags: RmFlags) => remove(model, flags, session));
}

async function remove(model: string, { revision, json }: RmFlags, session: Session): Promise<void> {
  const { cacheDir, endpoint } = await hubSettings();
  const reference = parseHubReference(sourceOfAlias(model) ?? model, endpoint);
  const freed = await removeFromCache(cacheDir, reference.repo, {
    file: reference.file,
    revision: revision ?? reference.revision,
  });
  await session.write(
    json
      ? `${JSON.stringify({ freedBytes: freed })}\n`
      : `${reference.repo}: ${formatBytes(freed)} are free again\n`,
  );
}
