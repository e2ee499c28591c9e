/** bitnet.ts: run 1-bit language models from TypeScript. */

export type {
  GenerateOptions,
  Generation,
  GenerationResult,
  SamplingOptions,
  StopReason,
  Tokenizer,
  TokenPiece,
} from "@bitnet.ts/core";
export {
  BitNetError,
  type BitNetErrorCode,
  type ChatMessage,
  type TemplateArguments,
  type TextPart,
  type ToolCall,
} from "@bitnet.ts/core";
export { availableMemory, backendReport, measureReadBandwidth } from "#platform";
export { BitNet } from "./bitnet.ts";
export { Chat, type ChatOptions } from "./chat.ts";
export type { BackendReport, BitNetLoadOptions, ModelInfo, ModelStats } from "./types.ts";
