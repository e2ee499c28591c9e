/**
 * Writes every generated file of the repository, or with --check reports those that differ from what would be written.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { renderConstantsHeader, renderOperationsHeader, renderRecordsHeader } from "@bitnet.ts/native/build";
import { drawFloors } from "./floors-drawing.ts";
import { layoutDrawings } from "./layout-drawings.ts";
import { renderOperationsPage } from "./operations-page.ts";

const root = resolve(import.meta.dirname, "..", "..");
const files = [
  { path: join(root, "packages/native/engine/kernels/constants.generated.h"), render: renderConstantsHeader },
  { path: join(root, "packages/native/engine/operations.generated.h"), render: renderOperationsHeader },
  { path: join(root, "packages/native/engine/records.generated.h"), render: renderRecordsHeader },
  { path: join(root, "docs/operations.md"), render: renderOperationsPage },
  { path: join(root, "docs/layouts/floors.svg"), render: drawFloors },
  ...Object.entries(layoutDrawings).map(([name, render]) => ({
    path: join(root, "docs/layouts", `${name}.svg`),
    render,
  })),
];

let stale = 0;
for (const { path, render } of files) {
  const text = render();
  if (!process.argv.includes("--check")) {
    writeFileSync(path, text);
  } else if ((existsSync(path) ? readFileSync(path, "utf8") : "") !== text) {
    console.error(`${relative(root, path)} is stale: run node build/scripts/generated-files.js`);
    stale++;
  }
}
if (stale > 0) process.exit(1);
