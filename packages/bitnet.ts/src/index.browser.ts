/** bitnet.ts in browsers and isolates: the same names as in Node. Nothing here or below imports Node or touches a global when imported. */
export { BitNetError } from "@bitnet.ts/core/base";
export { cosineSimilarity } from "@bitnet.ts/core/page";
export { BitNet } from "./browser/load.ts";
export { PageChat as Chat } from "./browser/page-chat.ts";
export { backendReport } from "./browser/report.ts";
export { availableMemory, embeddedModelPath, measureReadBandwidth } from "./platform-facts.ts";
