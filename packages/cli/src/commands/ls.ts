/** `bitnet ls`: the models in the cache. */
import { type CachedModel, hubSettings, listCache } from "bitnet.ts/hub";
import type { Command } from "commander";
import { formatBytes, formatTable } from "../format.ts";
import { jsonOption } from "../options.ts";
import type { Session } from "../session.ts";

export function registerLs(program: Command, session: Session): void {
  program
    .command("ls")
    .description("list the models in the cache")
    .addOption(jsonOption("the list"))
    .action((flags: { json?: boolean }) => list(flags, session));
}

async function list({ json }: { json?: boolean }, session: Session): Promise<void> {
  const { cacheDir } = await hubSettings();
  const models = await listCache(cacheDir);
  if (json) return session.write(`${JSON.stringify({ cacheDir, models })}\n`);
  if (models.length === 0) session.note(`The cache ${cacheDir} holds no models.`);
  else await session.write(`${formatTable(models.flatMap(rows))}\n`);
}

function rows({ repo, bytes, unfinishedBytes, revisions }: CachedModel): string[][] {
  const unfinished = unfinishedBytes === 0 ? "" : `${formatBytes(unfinishedBytes)} of an unfinished download`;
  return [
    [repo, formatBytes(bytes), unfinished],
    ...revisions.flatMap(({ commit, refs, files }) =>
      files.map(({ path, size }) => [`  ${path}`, formatBytes(size), refs.join(", ") || commit.slice(0, 12)]),
    ),
  ];
}
