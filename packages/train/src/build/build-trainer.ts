/** Builds the trainer's addon, in a checkout or where it has been installed. The work is that of the native package's build. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOutcome, buildAddon, glibcFloor } from "@bitnet.ts/native/build/addon";
import { trainUnits } from "./units.ts";

export { trainerPath } from "../kernels/find-addon.ts";

const packageFolder = fileURLToPath(new URL("../../native", import.meta.url));

type Build = Parameters<typeof buildAddon>[0];

/** @param say Receives what a person should read, in whole lines. */
export function buildTrainer(say: Build["say"], cross?: NonNullable<Build["cross"]>): Promise<BuildOutcome> {
  const headers = createRequire(import.meta.url).resolve("node-api-headers/package.json");
  return buildAddon({
    packageFolder,
    headerFolder: join(dirname(headers), "include"),
    moreSources: [glibcFloor],
    kernels: trainUnits,
    ...(cross === undefined ? {} : { cross }),
    say,
  });
}
