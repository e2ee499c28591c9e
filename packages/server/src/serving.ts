/** What all requests of a server share. */
import type { Admission } from "./admission.ts";
import type { Models } from "./models.ts";
import type { ServerSettings } from "./settings.ts";

export type ServerState = "loading" | "ready" | "draining";

export interface Serving {
  readonly settings: ServerSettings;
  readonly models: Models;
  readonly admission: Admission;
  readonly startedAt: Date;
  readonly version: string;
  state: ServerState;
}
