/** Draws what stands on what, for ARCHITECTURE.md, out of the table that the import law holds the sources to. */
import { allowedPackages, coreFloors, engineFloors, packageOf } from "./floors.ts";
import { cellRow, drawRows } from "./svg-cells.ts";
import { type Drawing, svgDocument } from "./svg-document.ts";

export function drawFloors(): string {
  return svgDocument([drawPackages(), drawCore(), drawEngine()]);
}

function drawPackages(): Drawing {
  const names = Object.keys(allowedPackages);
  return drawFloorsOf(
    "Packages: each stands on those below it that it names, and imports no others",
    names,
    (name) => heightOf(name),
    (name) => {
      const below = basesOf(name);
      return below.length === 0 ? name : `${name}: ${below.join(", ")}`;
    },
    [
      "Backends (native, wasm, webgpu) are loaded by bitnet.ts alone, when they are wanted; train takes the kernels of native for its own addon.",
    ],
  );
}

function drawCore(): Drawing {
  return drawFloorsOf(
    "packages/core/src: a folder imports those below it, and of its own floor itself alone",
    Object.keys(coreFloors),
    (name) => coreFloors[name] ?? 0,
    (name) => name,
    [
      "backend holds the two contracts: the table of operations with their plan, and the numbers, as a reference and a conformance suite.",
    ],
  );
}

function drawEngine(): Drawing {
  return drawFloorsOf(
    "packages/native: the C++, which includes headers below it only",
    Object.keys(engineFloors),
    (name) => engineFloors[name] ?? 0,
    (name) => name,
    [
      "node is the Node-API addon; packages/wasm compiles the floors below it, which build and are tested without any runtime.",
    ],
  );
}

function drawFloorsOf(
  title: string,
  names: readonly string[],
  floorOf: (name: string) => number,
  textOf: (name: string) => string,
  notes: readonly string[],
): Drawing {
  const highest = Math.max(...names.map(floorOf));
  const rows = Array.from({ length: highest + 1 }, (_, i) => {
    const floor = highest - i;
    const here = names.filter((name) => floorOf(name) === floor);
    return cellRow(
      `floor ${floor}`,
      here.map((name) => ({ text: textOf(name), of: `floor ${floor}` })),
    );
  });
  return drawRows(title, rows, notes);
}

/** Packages of this workspace that a package may import, each once. */
function basesOf(name: string): string[] {
  return [...new Set((allowedPackages[name] ?? []).map(packageOf))];
}

/** One above the highest that it stands on. */
function heightOf(name: string): number {
  return basesOf(name).reduce((height, base) => Math.max(height, heightOf(base) + 1), 0);
}
