/** Nothing is to be said of workers and WebAssembly: webpack follows the addresses that the library writes out. */
export default {
  mode: "production",
  context: import.meta.dirname,
  entry: "./main.js",
  output: { path: `${import.meta.dirname}/dist`, clean: true },
  // The compiler of grammars asks for it where it runs in Node.
  resolve: { fallback: { module: false } },
};
