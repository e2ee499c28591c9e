import { defineConfig } from "vite";

/** Isolation, so that the WebAssembly backend may use threads; the host of the built files must send the same. */
const headers = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

export default defineConfig({
  server: { headers },
  preview: { headers },
});
