/** bitnet.ts in browsers and isolates: the same names as in Node. Nothing here or below imports Node or touches a global when imported. */
export { BitNetError } from "@bitnet.ts/core";
export { availableMemory, backendReport, embeddedModelPath, measureReadBandwidth } from "#platform";
export { BitNet } from "./browser/load.ts";
export { Chat } from "./chat.ts";
