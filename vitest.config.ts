import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { configDefaults, defineConfig } from "vitest/config";
import { LongestFirst } from "./test/longest-first.ts";
import { leftOut } from "./test/run-plan.ts";

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^@bitnet\.ts\/core$/, replacement: source("./packages/core/src/index.ts") },
      { find: /^@bitnet\.ts\/core\/base$/, replacement: source("./packages/core/src/base/index.ts") },
      { find: /^@bitnet\.ts\/core\/page$/, replacement: source("./packages/core/src/index.page.ts") },
      { find: /^@bitnet\.ts\/core\/node$/, replacement: source("./packages/core/src/index.node.ts") },
      {
        find: /^@bitnet\.ts\/core\/parquet$/,
        replacement: source("./packages/core/src/formats/parquet/parquet-lines.node.ts"),
      },
      {
        find: /^@bitnet\.ts\/core\/conformance$/,
        replacement: source("./packages/core/src/backend/conformance/index.ts"),
      },
      { find: /^@bitnet\.ts\/native$/, replacement: source("./packages/native/src/index.ts") },
      { find: /^@bitnet\.ts\/wasm$/, replacement: source("./packages/wasm/src/index.ts") },
      { find: /^@bitnet\.ts\/webgpu$/, replacement: source("./packages/webgpu/src/index.ts") },
      { find: /^#gpu$/, replacement: source("./packages/webgpu/src/platform.node.ts") },
      { find: /^#thread$/, replacement: source("./packages/grammar/src/platform.node.ts") },
      { find: /^#host$/, replacement: source("./packages/wasm/src/platform.node.ts") },
      {
        find: /^@bitnet\.ts\/native\/build\/sources$/,
        replacement: source("./packages/native/src/build/source-hash.ts"),
      },
      { find: /^bitnet\.ts$/, replacement: source("./packages/bitnet.ts/src/index.ts") },
      { find: /^bitnet\.ts\/hub$/, replacement: source("./packages/bitnet.ts/src/hub/index.ts") },
      {
        find: /^bitnet\.ts\/strategies$/,
        replacement: source("./packages/bitnet.ts/src/strategies/index.ts"),
      },
      { find: /^@bitnet\.ts\/train$/, replacement: source("./packages/train/src/index.ts") },
      { find: /^@bitnet\.ts\/eval$/, replacement: source("./packages/eval/src/index.ts") },
      {
        find: /^@bitnet\.ts\/native\/build\/addon$/,
        replacement: source("./packages/native/src/build/build-addon.ts"),
      },
      { find: /^#platform$/, replacement: source("./packages/bitnet.ts/src/platform.node.ts") },
      // Insides of packages, for tests that put their parts together anew.
      { find: /^#core\/(.*)$/, replacement: `${source("./packages/core/src/")}$1` },
      { find: /^#server\/(.*)$/, replacement: `${source("./packages/server/src/")}$1` },
      { find: /^#eval\/(.*)$/, replacement: `${source("./packages/eval/src/")}$1` },
      { find: /^#train\/(.*)$/, replacement: `${source("./packages/train/src/")}$1` },
      { find: /^#facade\/(.*)$/, replacement: `${source("./packages/bitnet.ts/src/")}$1` },
      { find: /^#cli\/(.*)$/, replacement: `${source("./packages/cli/src/")}$1` },
      { find: /^@bitnet\.ts\/grammar$/, replacement: source("./packages/grammar/src/index.ts") },
      { find: /^@bitnet\.ts\/server$/, replacement: source("./packages/server/src/index.ts") },
      { find: /^@bitnet\.ts\/web$/, replacement: source("./packages/web/src/index.ts") },
      { find: /^@bitnet\.ts\/cli$/, replacement: source("./packages/cli/src/index.ts") },
    ],
  },
  test: {
    include: ["packages/*/src/**/*.test.ts", "test/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...leftOut],
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    // One more than cores: a third of the time tests wait, for processes, pages and timers.
    maxWorkers: availableParallelism() + 1,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
