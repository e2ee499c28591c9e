/** Models of a hub: bringing them here, and what the cache holds. Needs Node. */
export type { DownloadPhase, DownloadProgress as PullProgress } from "../types.ts";
export {
  type CachedFile,
  type CachedModel,
  type CachedRevision,
  listCache,
  removeFromCache,
} from "./cache.ts";
export { type KnownModel, knownModels, sourceOfAlias } from "./known-models.ts";
export {
  type ChosenFile,
  type PulledModel,
  type PullOptions,
  pull,
  pullDataset,
  pullExamples,
} from "./pull.ts";
export { type HubReference, isHubLocation, parseHubReference } from "./reference.ts";
export { type HubSettings, hubEndpoint, hubSettings } from "./settings.ts";
