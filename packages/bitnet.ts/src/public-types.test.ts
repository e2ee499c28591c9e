/** Every type that a public declaration names can be imported from the entry that declares it, so that callers can name what they hold. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const dist = fileURLToPath(new URL("../dist/", import.meta.url));

/** Of `a, type b, c as d`, with the names on both sides of `as`. */
function namesIn(list: string): string[] {
  return list.split(",").flatMap((entry) =>
    entry
      .trim()
      .replace(/^type /, "")
      .split(" as ")
      .filter((name) => name !== ""),
  );
}

/** A declaration without comments and without what callers do not see. */
function declarationOf(source: string, name: string): string {
  const start = new RegExp(
    `^export (?:declare )?(?:abstract )?(?:interface|class|type|function|const) ${name}\\b`,
    "m",
  ).exec(source)?.index;
  if (start === undefined) return "";
  const rest = source.slice(start + 1);
  const end = rest.search(/^(?:export|declare|interface|type|\/\*\*)/m);
  return rest
    .slice(0, end < 0 ? undefined : end)
    .replaceAll(/\/\*[\s\S]*?\*\//g, "")
    .split("\n")
    .filter((line) => !/^\s*(?:private|constructor|#)/.test(line))
    .join("\n");
}

it.each(["index.d.ts", "strategies/index.d.ts"])("%s lets every type be named", (entry) => {
  const index = readFileSync(join(dist, entry), "utf8");
  const exported = new Set([...index.matchAll(/\{([^}]*)\}/g)].flatMap(([, list = ""]) => namesIn(list)));
  let nDeclared = 0;
  const missing: string[] = [];
  for (const [, list = "", from = ""] of index.matchAll(/export (?:type )?\{([^}]*)\} from "(\.[^"]+)"/g)) {
    const source = readFileSync(join(dist, dirname(entry), from.replace(/\.[jt]s$/, ".d.ts")), "utf8");
    const imported = [...source.matchAll(/import (?:type )?\{([^}]*)\} from/g)].flatMap(([, names = ""]) =>
      namesIn(names),
    );
    // What a file keeps to itself is spelled out wherever it shows.
    const own = [...source.matchAll(/^export (?:declare )?(?:interface|class|type) (\w+)/gm)].map(
      ([, name]) => name,
    );
    const known = new Set([...imported, ...own]);
    for (const name of namesIn(list)) {
      const declaration = declarationOf(source, name);
      if (declaration !== "") nDeclared++;
      for (const [type] of declaration.matchAll(/\b[A-Z]\w*/g))
        if (known.has(type) && !exported.has(type)) missing.push(`${name} names ${type}`);
    }
  }
  expect(nDeclared).toBeGreaterThan(3);
  expect(missing).toEqual([]);
});
