/** What the benches of the repository share with `bitnet bench`. */
export {
  type BatchSample,
  type RunSample,
  type RunSettings,
  randomPrompt,
  runBatch,
  runOnce,
} from "./bench-run.ts";
export { dummyShapes, planTensors } from "./dummy-shapes.ts";
export { median } from "./format.ts";
export { RandomBits } from "./random-bits.ts";
