/**
 * clang and wasm-ld, themselves compiled to WebAssembly and installed by npm (`@yowasp/clang`): the same compiler on every machine. It sees
 * no files but those that it is given.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Tree } from "@yowasp/clang";

/** The compiler has said why. */
export class CompileError extends Error {}

/** Runs clang++. @returns The file that it wrote. */
export async function runClang(args: readonly string[], files: Tree, output: string): Promise<Uint8Array> {
  const { commands } = await import("@yowasp/clang");
  const clang = commands["clang++"];
  // Without arguments it only reads its own files, and would say on the standard output how far it is.
  await clang(undefined, {}, { fetchProgress: () => {} });
  let messages = "";
  const decoder = new TextDecoder();
  const collect = (bytes: Uint8Array | null) => {
    if (bytes !== null) messages += decoder.decode(bytes, { stream: true });
  };
  let made: Tree | undefined;
  try {
    made = await clang([...args, "-o", output], files, { stdout: collect, stderr: collect });
  } catch (error) {
    throw new CompileError(`${messages}${error instanceof Error ? error.message : error}\n`);
  }
  const file = made?.[output];
  if (messages !== "" || !(file instanceof Uint8Array)) throw new CompileError(messages);
  return file;
}

/** What a cached object depends on. */
export function toolchainIdentity(): string {
  const entry = createRequire(import.meta.url).resolve("@yowasp/clang");
  const manifest = readFileSync(join(dirname(dirname(entry)), "package.json"), "utf8");
  return `@yowasp/clang ${(JSON.parse(manifest) as { version: string }).version}`;
}
