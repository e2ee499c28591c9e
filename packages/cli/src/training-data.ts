/** Data that are named on the command line: files, and datasets of a hub, which are brought into its cache. */
import { existsSync } from "node:fs";
import { hubEndpoint, isHubLocation, pullExamples } from "bitnet.ts/hub";
import { withPullStatus } from "./pull-model.ts";
import type { Session } from "./session.ts";

/** Local paths: what was given, or the files of a split of a dataset. A file of that name wins. */
export async function localData(source: string, session: Session): Promise<string[]> {
  if (existsSync(source) || !isHubLocation(source, hubEndpoint())) return [source];
  const paths = await withPullStatus(session, (shown) => pullExamples(source, shown));
  session.note(`${source}: ${paths.length === 1 ? paths[0] : `${paths.length} files, from ${paths[0]} on`}`);
  return paths;
}
