/** Everything of core that runs anywhere. */
export * from "./backend/backend.ts";
export { type EncodedProgram, encodeProgram } from "./backend/encode-program.ts";
export { encodeStep } from "./backend/engine/encode-step.ts";
export {
  decodeNumbers,
  EngineExecutable,
  type EngineNumbers,
  type EnginePort,
} from "./backend/engine/engine-executable.ts";
export { type EngineFailure, engineError } from "./backend/engine/engine-failure.ts";
export { type EngineOptions, encodeLimits } from "./backend/engine/engine-limits.ts";
export { engineOperations } from "./backend/engine/engine-operations.ts";
export { engineRecords } from "./backend/engine/engine-records.ts";
export { type ScreeningOption, type ScreeningReport, screeningOf } from "./backend/engine/screening.ts";
export { recordWords, wordsOf } from "./backend/engine/word-record.ts";
export { fitProgram } from "./backend/offers.ts";
export {
  type AnyOperation,
  type Field,
  fieldsOf,
  type Operation,
  type OperationTable,
  rangeText,
  type Size,
} from "./backend/operation-table.ts";
export { type OpName, type OpOf, operations, opNames } from "./backend/operations.ts";
export { type Phase, type Plan, planProgram } from "./backend/plan.ts";
export * from "./backend/program.ts";
export { logSumExp } from "./backend/reference/head.ts";
export { createReferenceBackend, type ReferenceOptions } from "./backend/reference/reference-backend.ts";
export * from "./backend/step.ts";
export { validateLoadOptions, validateStep } from "./backend/validate.ts";
export { validateProgram } from "./backend/validate-program.ts";
export * from "./base/abort.ts";
export { BoundedCache, type CacheStats } from "./base/bounded-cache.ts";
export * from "./base/byte-source.ts";
export * from "./base/byte-strings.ts";
export { elementaryConstants, expF32, logF32, roundTiesToEven } from "./base/elementary.ts";
export { pow64, sinCos64 } from "./base/elementary64.ts";
export * from "./base/errors.ts";
export { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "./base/float16.ts";
export { fma } from "./base/fma.ts";
export { threefry } from "./base/noise.ts";
export { showValue } from "./base/show-value.ts";
export { nearestName, suggestion } from "./base/suggestion.ts";
export { type Comparison, compareModels } from "./convert/compare.ts";
export type {
  Conversion,
  ConversionFile,
  ConversionOptions,
  PlannedConversion,
} from "./convert/conversion.ts";
export { planConversion } from "./convert/convert.ts";
export {
  type ConversionTarget,
  conversionTargets,
  type EmbeddingType,
  embeddingTypes,
} from "./convert/targets.ts";
export type { FileRoot } from "./formats/file-root.ts";
export { type Gguf, openGguf } from "./formats/gguf/open-gguf.ts";
export type { I2sLayout } from "./formats/gguf/tensor-types.ts";
export type { GgufMetadata, GgufValue } from "./formats/gguf/values.ts";
export { type GgufInput, type GgufTensorInput, writeGguf } from "./formats/gguf/write-gguf.ts";
export * from "./formats/model-files.ts";
export { blobRoot, urlRoot } from "./formats/model-files-url.ts";
export {
  isPackingId,
  matrixShape,
  readTensor,
  type TensorInfo,
  type TensorType,
  typeName,
} from "./formats/tensor.ts";
export { openUrl, type UrlOptions } from "./formats/url-source.ts";
export { type AnswerEvent, AnswerReader, type ReaderOptions } from "./generate/answer-reader.ts";
export { answerDraw } from "./generate/draw-here.ts";
export type { PooledText, PoolingOptions } from "./generate/embedding.ts";
export type { TokenLogprob, TopLogprob } from "./generate/logprobs.ts";
export type { TokenMask } from "./generate/mask.ts";
export type { GenerateOptions, PromptProgress, SamplingOptions } from "./generate/options.ts";
export { Scheduler } from "./generate/scheduler.ts";
export type { SchedulerOptions, SchedulerStats } from "./generate/scheduler-options.ts";
export type { StopReason } from "./generate/stop.ts";
export type {
  Generation,
  GenerationResult,
  GenerationTimings,
  PieceIterator,
  TokenPiece,
} from "./generate/stream.ts";
export type { ThinkingMarks } from "./generate/thinking.ts";
export {
  type Adapter,
  type AdapterProjection,
  adapterBaseFile,
  adapterBaseKey,
  checkBase,
  openAdapter,
} from "./model/adapter.ts";
export { type EmbeddingModules, readEmbeddingModules } from "./model/embedding-modules.ts";
export {
  applyDense,
  cosineSimilarity,
  type DenseLayer,
  normalized,
  toBits,
  toInt8,
} from "./model/embedding-vector.ts";
export type { Pooling } from "./model/family.ts";
export * from "./model/load-model.ts";
export type { ModelConfig } from "./model/model-config.ts";
export { ProgramWeights } from "./model/program-weights.ts";
export { ropeTable } from "./model/rope-table.ts";
export { rowOrder } from "./model/row-order.ts";
export * from "./model/tokenizer-source.ts";
export { denseByteLength, widenRows } from "./packing/dense.ts";
export type { DenseType, PackingId, Scale, TernaryShape } from "./packing/packing.ts";
export { isGroupPacking, packings } from "./packing/registry.ts";
export { type TritHistogram, tritHistogram } from "./packing/trit-histogram.ts";
export type { ChatMessage, TemplateArguments, TextPart, ToolCall } from "./tokenizer/chat-messages.ts";
export type { ChatTemplate } from "./tokenizer/chat-template.ts";
export { chatTemplateFor, type TemplateSource } from "./tokenizer/default-template.ts";
export { type EncodeChatOptions, type EncodedChat, encodeChat } from "./tokenizer/encode-chat.ts";
export {
  type EncodedPrompt,
  type EncodeJob,
  encodeJobSize,
  longPrompt,
  runEncodeJob,
} from "./tokenizer/encode-job.ts";
export { type Conversation, withSystem } from "./tokenizer/fit-chat.ts";
export { type TokenizerJsonFiles, tokenizerFromJson } from "./tokenizer/from-json.ts";
export { pieceScanner, type SplitRule } from "./tokenizer/split.ts";
export type { Tokenizer } from "./tokenizer/tokenizer.ts";
export {
  callBegin,
  callEnd,
  describeToolsInText,
  hasToolTemplate,
  type Tool,
  type ToolChoice,
} from "./tokenizer/tool-text.ts";
