import { join } from "node:path";

/** Nothing is to be said of workers and WebAssembly: webpack follows the addresses that the library writes out. */
export default {
  mode: "production",
  context: import.meta.dirname,
  entry: "./main.js",
  output: { path: join(import.meta.dirname, "dist"), clean: true },
};
