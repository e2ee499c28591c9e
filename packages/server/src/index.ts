/** @bitnet.ts/server: serves models in the dialects of OpenAI, Anthropic and Ollama. */
export { type BatchFileResult, type BatchFiles, runBatchFile } from "./batches/batch-file.ts";
export { fileKeys, type KeyLimits } from "./key-store.ts";
export { createKey, defaultKeysFile, revokeKey } from "./keys.ts";
export { referenceThresholds, type Thresholds } from "./monitor/alerts.ts";
export { traceSettingsOf } from "./monitor/trace-exporter.ts";
export {
  describePlan,
  type ProfileName,
  type ProfilePlan,
  planProfile,
  profileNames,
  programBytes,
} from "./profiles.ts";
export { type RunningServer, type ServerOptions, startServer } from "./server.ts";
export { defaultSettings, type ServedModel, type ServerSettings } from "./settings.ts";
export { openKeys } from "./store/open-keys.ts";
