/** `@bitnet.ts/core/base`: what a page needs that leaves the engine to a worker, so that no bundler puts the engine into its script. */
export { onAbort, pause } from "./abort.ts";
export { BitNetError, type BitNetErrorCode, throwIfAborted } from "./errors.ts";
export { suggestion } from "./suggestion.ts";
