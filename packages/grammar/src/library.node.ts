/** The compiler's package, in Node. */
import { readFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { dirname } from "node:path";
import type * as XGrammar from "@mlc-ai/web-xgrammar";

/** The package says that it is ECMAScript modules, but it is CommonJS. */
export function loadLibrary(): typeof XGrammar {
  const file = createRequire(import.meta.url).resolve("@mlc-ai/web-xgrammar");
  const loaded = new Module(file) as Module & {
    _compile(source: string, file: string): void;
    paths: string[];
  };
  loaded.filename = file;
  loaded.paths = [dirname(file)];
  loaded._compile(readFileSync(file, "utf8"), file);
  return loaded.exports as typeof XGrammar;
}
