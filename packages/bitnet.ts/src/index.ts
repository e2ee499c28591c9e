/** bitnet.ts: run 1-bit language models from TypeScript. */

export type {
  BackendName,
  CacheStats,
  ChatTemplate,
  EncodedPrompt,
  EncodeJob,
  GenerateOptions,
  GenerationTimings,
  I2sLayout,
  Isa,
  KvType,
  MemoryReport,
  PieceIterator,
  Pooling,
  PromptProgress,
  RejectedVariant,
  SamplingOptions,
  SchedulerStats,
  ScreeningReport,
  StopReason,
  Tokenizer,
} from "@bitnet.ts/core";
export {
  BitNetError,
  type BitNetErrorCode,
  type ChatMessage,
  cosineSimilarity,
  type TemplateArguments,
  type TextPart,
  type ToolCall,
} from "@bitnet.ts/core";
export { availableMemory, backendReport, embeddedModelPath, measureReadBandwidth } from "#platform";
export type { AnswerOptions, FormOptions, SchemaOptions, ValueGeneration } from "./answer-form.ts";
export { BitNet, encodePrompt } from "./bitnet.ts";
export { Chat, type ChatOptions, type SendOptions } from "./chat.ts";
export type {
  EmbeddingResult,
  EmbedOptions,
  Quantization,
  RankedText,
  TextToEmbed,
} from "./embed.ts";
export type {
  Generation,
  GenerationResult,
  ParsedToolCall,
  TokenLogprob,
  TokenPiece,
  TopLogprob,
} from "./generation.ts";
export {
  checkHealth,
  type HealthReport,
  type InferenceRequest,
  type InferenceResponse,
  InferenceService,
  type InferenceServiceOptions,
  type InferenceStats,
} from "./inference-service.ts";
export { type ModelMemory, measureModel } from "./measure-model.ts";
export type { FromSchema, JsonSchema } from "./schema-type.ts";
export type { ChatTool, ToolOptions, ToolResult } from "./tool-calls.ts";
export type {
  BackendReport,
  BitNetLoadOptions,
  DownloadPhase,
  DownloadProgress,
  EngineWorker,
  HubPlace,
  ModelInfo,
  ModelStats,
  PassedOver,
} from "./types.ts";
