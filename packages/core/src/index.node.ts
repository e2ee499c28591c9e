/** The parts of core that need Node. */
export { openFileSource } from "./base/byte-source.node.ts";
export { openPath } from "./formats/model-files.node.ts";
