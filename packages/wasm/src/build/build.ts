/** Builds the WebAssembly modules: `node packages/wasm/dist/build/build.js`. What it does stands in build-modules.ts. */
import { buildModules } from "./build-modules.ts";
import { CompileError } from "./toolchain.ts";

try {
  await buildModules((text) => process.stderr.write(text));
} catch (error) {
  if (!(error instanceof CompileError)) throw error;
  process.stderr.write(`${error.message}wasm: the compiler failed\n`);
  process.exitCode = 1;
}
