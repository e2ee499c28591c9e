/** Finds the model that serves when none is named: in the installed package, or in the workspace of a source checkout. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { BitNetError } from "@bitnet.ts/core";

/** Relative to this file, in dist/ as in src/: of the package bitnet.ts beside this one, of the repository. */
const places = ["../../../bitnet.ts/models/tiny.gguf", "../../../models/tiny.gguf"];

/** @throws BitNetError FILE_NOT_FOUND. */
export function embeddedModelPath(): string {
  const paths = places.map((place) => fileURLToPath(new URL(place, import.meta.url)));
  const found = paths.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new BitNetError(
    "FILE_NOT_FOUND",
    `the embedded model is missing (looked for ${paths.join(" and ")}); name a model with -m`,
  );
}
