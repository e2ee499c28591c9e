/** The parts of core that need Node. */

export { openFileSource } from "./base/byte-source.node.ts";
export { type EnergyMeter, openEnergyMeter } from "./base/energy.node.ts";
export { acquireLock, isLocked, type Lock, lockOwner } from "./base/file-lock.node.ts";
export { unreadableFile } from "./base/unreadable-file.node.ts";
export { openPath } from "./formats/model-files.node.ts";
export { type EncodingModel, PromptEncoder } from "./model/prompt-encoder.node.ts";
