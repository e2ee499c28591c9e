/**
 * Models that are named by hub, page or short name: brought into the cache, with their progress on the terminal; and the embedded one.
 * Everything else is left as it is.
 */
import { existsSync } from "node:fs";
import { embeddedModelPath } from "bitnet.ts";
import {
  hubEndpoint,
  isHubLocation,
  type PulledModel,
  type PullOptions,
  type PullProgress,
  pull,
  sourceOfAlias,
} from "bitnet.ts/hub";
import { formatBytes } from "./format.ts";
import type { Session } from "./session.ts";
import { startStatus } from "./terminal.ts";

/** The local path of a model that a hub holds, or of "tiny"; any other source as it was given. A file of that name wins over a short name. */
export async function localSource(
  source: string,
  session: Session,
  signal = session.signal,
): Promise<string> {
  const isFile = existsSync(source);
  if (source === "tiny" && !isFile) return embeddedModelPath();
  const alias = isFile ? null : sourceOfAlias(source);
  const endpoint = hubEndpoint();
  if (alias === null && !isHubLocation(source, endpoint)) return source;
  return (await pullWithStatus(alias ?? source, session, { signal })).path;
}

export function pullWithStatus(
  source: string,
  session: Session,
  options: PullOptions = {},
): Promise<PulledModel> {
  return withPullStatus(session, (shown) => pull(source, { ...shown, ...options }));
}

/** Runs what downloads, with options that show how far it is. */
export async function withPullStatus<T>(
  session: Session,
  run: (shown: PullOptions) => Promise<T>,
): Promise<T> {
  const status = startStatus();
  try {
    return await run({
      signal: session.signal,
      onNotice: session.note,
      onProgress: (progress) =>
        status.update(progress.doneBytes / Math.max(1, progress.totalBytes), describeProgress(progress)),
    });
  } finally {
    status.end();
  }
}

const verbs = {
  waiting: "Waiting for another process",
  downloading: "Downloading",
  verifying: "Verifying",
} as const;

/** `Downloading 512 MB of 1.19 GB, 34.5 MB/s, 20 s left` */
function describeProgress({
  phase,
  doneBytes,
  totalBytes,
  bytesPerSecond,
  secondsLeft,
}: PullProgress): string {
  if (phase !== "downloading") return verbs[phase];
  const speed = bytesPerSecond === null ? "" : `, ${formatBytes(bytesPerSecond)}/s`;
  const left = secondsLeft === null ? "" : `, ${formatSeconds(secondsLeft)} left`;
  return `${verbs[phase]} ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}${speed}${left}`;
}

function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
