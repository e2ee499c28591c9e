/** What all requests of a server share. */
import type { FastifyBaseLogger } from "fastify";
import type { Admission } from "./admission.ts";
import type { AnswerCache } from "./answer-cache.ts";
import type { AnswerStore } from "./answer-store.ts";
import type { Batching } from "./batches/batching.ts";
import type { InnerClients } from "./batches/inner-clients.ts";
import type { KeyRing } from "./keys.ts";
import type { Models } from "./models.ts";
import type { Watching } from "./monitor/watching.ts";
import type { Pulls } from "./pulling/pulls.ts";
import type { Accounts } from "./rate-limit.ts";
import type { Security } from "./security/security.ts";
import type { ServerSettings } from "./settings.ts";
import type { Shared } from "./store/sharing.ts";

type ServerState = "loading" | "ready" | "draining";

export interface Serving {
  readonly settings: ServerSettings;
  readonly models: Models;
  readonly pulls: Pulls;
  readonly admission: Admission;
  /** Null where no keys are wanted. */
  readonly keys: KeyRing | null;
  readonly accounts: Accounts;
  readonly answers: AnswerStore;
  readonly cache: AnswerCache;
  readonly security: Security;
  readonly startedAt: Date;
  readonly version: string;
  /** Null where the server has no data folder. */
  batching: Batching | null;
  readonly inner: InnerClients;
  readonly watching: Watching;
  /** What it shares with other servers; null: there are none. */
  readonly shared: Shared | null;
  /** Null where the log is plain text. */
  readonly requestLog: FastifyBaseLogger | null;
  state: ServerState;
}
