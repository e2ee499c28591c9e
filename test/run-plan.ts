/**
 * Which test files run on which Node, and which begin first. Everything runs on the Node that `.ci/run` finds; on the second one, where it sets
 * BITNET_ANOTHER_NODE=1, those are left out in which nothing depends on the Node. `npm test` alone runs them all.
 */

/** By what makes the outcome, which is not Node. */
export const anyNode: Readonly<Record<string, readonly string[]>> = {
  "C++ programs of their own: compilers, sanitizers, an emulator": [
    "packages/native/src/engine.slow.test.ts",
    "packages/native/src/kernels.slow.test.ts",
    "packages/train/src/kernels/arm-kernels.slow.test.ts",
    "test/glibc-floor.slow.test.ts",
  ],
  "kernels behind Node-API; the shorter conformance tests of the same addons run on both": [
    "packages/native/src/conformance.slow.test.ts",
    "packages/native/src/joined.slow.test.ts",
    "packages/native/src/screened-head.slow.test.ts",
    "packages/webgpu/src/conformance.slow.test.ts",
    "packages/webgpu/src/draw.test.ts",
    "packages/webgpu/src/work.slow.test.ts",
    "test/webgpu-families.test.ts",
  ],
  browsers: [
    "test/browser-cache.test.ts",
    "test/browser-forms.test.ts",
    "test/browser-sizes.test.ts",
    "test/browser-webgpu.test.ts",
    "test/server-monitor-page.test.ts",
    "test/server-page.test.ts",
    "test/wasm-browser.test.ts",
    "test/web.test.ts",
    "test/webgpu-browser.test.ts",
  ],
  "bundlers, clusters, balancers, workflows, another engine: programs of others": [
    "test/bundlers.slow.test.ts",
    "test/deployment.test.ts",
    "test/llama-cpp.slow.test.ts",
    "test/server-balanced.test.ts",
    "test/server-redis-secret.test.ts",
    "test/server-redis.test.ts",
    "test/workflows.test.ts",
  ],
  "the order of calls on a disk, whichever process is killed; one batch and one download that are killed run on both":
    ["test/server-batch-kill.slow.test.ts"],
  "arithmetic in JavaScript, exact by the standard; the golden texts and the conformance tests run on both": [
    "packages/core/src/backend/conformance/tolerance.test.ts",
    "packages/core/src/generate/sampler-draw.test.ts",
    "packages/train/src/graph/executor.test.ts",
    "packages/train/src/graph/straight-through.slow.test.ts",
    "test/convert-readers.test.ts",
    "test/lora-fact.slow.test.ts",
    "test/simulation.slow.test.ts",
    "test/train-recipe.test.ts",
  ],
  "what benches report": ["test/bench.test.ts"],
};

export const isAnotherNode: boolean = process.env.BITNET_ANOTHER_NODE === "1";

/** Patterns of the files that this run leaves out. */
export const leftOut: readonly string[] = isAnotherNode ? Object.values(anyNode).flat() : [];

/** Files that take a minute and more: begun last, they would keep one core busy while others have nothing to do. */
export const longest: readonly string[] = [
  "packages/native/src/engine.slow.test.ts",
  "test/packed.slow.test.ts",
  "test/bench.test.ts",
  "packages/native/src/kernels.slow.test.ts",
  "test/bundlers.slow.test.ts",
  "test/server-batch-kill.slow.test.ts",
  "test/server-redis.test.ts",
  "packages/webgpu/src/conformance.slow.test.ts",
  "test/simulation.slow.test.ts",
  "test/shapes.test.ts",
  "test/web.test.ts",
  "packages/train/src/graph/executor.test.ts",
];
