/** Builds the trainer's addon: `node packages/train/dist/build/build.js`. */
import { buildTrainer } from "./build-trainer.ts";

const outcome = await buildTrainer((text) => process.stderr.write(text));
process.exitCode = outcome === "failed" ? 1 : 0;
