/** bitnet.ts: run 1-bit language models from TypeScript. */

export type {
  BackendName,
  ChatTemplate,
  GenerateOptions,
  GenerationTimings,
  HeadReport,
  I2sLayout,
  Isa,
  KvType,
  MemoryReport,
  RejectedVariant,
  SamplingOptions,
  SchedulerStats,
  StopReason,
  Tokenizer,
} from "@bitnet.ts/core";
export {
  BitNetError,
  type BitNetErrorCode,
  type ChatMessage,
  type TemplateArguments,
  type TextPart,
  type ToolCall,
} from "@bitnet.ts/core";
export { availableMemory, backendReport, embeddedModelPath, measureReadBandwidth } from "#platform";
export { BitNet } from "./bitnet.ts";
export { Chat, type ChatOptions } from "./chat.ts";
export type {
  Generation,
  GenerationResult,
  TokenLogprob,
  TokenPiece,
  TopLogprob,
} from "./generation.ts";
export type {
  BackendReport,
  BitNetLoadOptions,
  DownloadPhase,
  DownloadProgress,
  EngineWorker,
  HubPlace,
  ModelInfo,
  ModelStats,
} from "./types.ts";
