/**
 * Settings for a kind of machine, computed from the model's real bytes: threads, memory, context, cache, requests at once and waiting.
 * What cannot be held is an error with the arithmetic, not a server that dies later.
 */
import { BitNetError, pageTokens } from "@bitnet.ts/core";
import type { ModelMemory } from "bitnet.ts";

export const profileNames = ["mobile", "edge", "server", "cloud"] as const;
export type ProfileName = (typeof profileNames)[number];

interface Profile {
  readonly threads: number;
  readonly memoryBytes: number;
  /** What it is for. */
  readonly aim: "latency" | "efficiency" | "throughput" | "scalability";
  /** Tokens of context, where the model and the memory allow it. */
  readonly contextLength: number;
  /** Requests at once, where their contexts find room. */
  readonly parallel: number;
  /** Requests that may wait for each that runs. */
  readonly waitingPerRunning: number;
  readonly maxOutputTokens: number;
}

const mebi = 2 ** 20;
const profiles: Readonly<Record<ProfileName, Profile>> = {
  mobile: {
    threads: 2,
    memoryBytes: 512 * mebi,
    aim: "latency",
    contextLength: 2048,
    parallel: 1,
    waitingPerRunning: 4,
    maxOutputTokens: 512,
  },
  edge: {
    threads: 4,
    memoryBytes: 1024 * mebi,
    aim: "efficiency",
    contextLength: 2048,
    parallel: 4,
    waitingPerRunning: 4,
    maxOutputTokens: 1024,
  },
  server: {
    threads: 8,
    memoryBytes: 2048 * mebi,
    aim: "throughput",
    contextLength: 4096,
    parallel: 16,
    waitingPerRunning: 8,
    maxOutputTokens: 4096,
  },
  cloud: {
    threads: 16,
    memoryBytes: 4096 * mebi,
    aim: "scalability",
    contextLength: 4096,
    parallel: 64,
    waitingPerRunning: 8,
    maxOutputTokens: 4096,
  },
};

/** What the program itself takes beside models: an idle server has some 90 MiB on Node 20; the rest is for requests. */
export const programBytes = 128 * mebi;
/** A shorter context than this is of no use to anybody. */
const leastContext = 256;
export interface ProfilePlan {
  readonly profile: ProfileName;
  readonly aim: string;
  readonly threads: number;
  /** Of the whole process. */
  readonly memoryBytes: number;
  /** Of these: program, weights, work space, KV cache. */
  readonly parts: {
    readonly programBytes: number;
    readonly weightBytes: number;
    readonly workBytes: number;
    readonly cacheBytes: number;
  };
  /** False where the memory does not hold the copy of the head. */
  readonly screening: boolean;
  readonly contextLength: number;
  readonly cacheTokens: number;
  readonly parallel: number;
  readonly maxQueued: number;
  readonly maxOutputTokens: number;
  /** Where less is taken than the profile would like, and why. */
  readonly notes: readonly string[];
}

export interface PlanOptions {
  /** Cores that the process may use. */
  cores: number;
  /** Bytes of memory that the process may use; null where the machine does not say. */
  machineBytes: number | null;
  /** Instead of the profile's. */
  memoryBytes?: number;
  threads?: number;
  contextLength?: number;
  parallel?: number;
}

/** @throws BitNetError OUT_OF_MEMORY with what is needed and what there is. */
export function planProfile(name: ProfileName, model: ModelMemory, options: PlanOptions): ProfilePlan {
  const profile = profiles[name];
  const notes: string[] = [];
  const { cores, machineBytes } = options;
  const wanted = options.memoryBytes ?? profile.memoryBytes;
  const memoryBytes = Math.min(wanted, machineBytes ?? wanted);
  if (memoryBytes < wanted)
    notes.push(`memory: ${mebibytes(wanted)} wanted, but the machine has ${mebibytes(memoryBytes)}`);
  const threads = options.threads ?? Math.min(profile.threads, cores);
  if (options.threads === undefined && threads < profile.threads)
    notes.push(`threads: ${profile.threads} wanted, but ${cores} cores are available`);
  const mostContext = Math.min(options.contextLength ?? profile.contextLength, model.trainedContextLength);
  const least = options.contextLength ?? Math.min(leastContext, mostContext);
  const base = programBytes + model.weightBytes + model.activationBytes;
  const perToken = model.kvBytesPerToken + model.tableBytesPerToken;
  const leastBytes = base + pages(least) * perToken;
  if (leastBytes > memoryBytes) {
    throw new BitNetError(
      "OUT_OF_MEMORY",
      `profile ${name}: ${mebibytes(memoryBytes)} of memory cannot hold the model: ${mebibytes(programBytes)} for the program + ` +
        `${mebibytes(model.weightBytes)} of weights + ${mebibytes(model.activationBytes)} of work space + ` +
        `${least} tokens × ${Math.ceil(perToken)} bytes of KV cache = ${mebibytes(leastBytes)}; ` +
        "take a larger profile, --memory-limit or a smaller model",
      { details: { memoryBytes, leastBytes } },
    );
  }
  const screening = model.screenBytes > 0 && leastBytes + model.screenBytes <= memoryBytes;
  if (!screening && model.screenBytes > 0)
    notes.push(`screening: off, since its copy of the head takes ${mebibytes(model.screenBytes)}`);
  const workBytes = model.activationBytes + (screening ? model.screenBytes : 0);
  const room = memoryBytes - programBytes - model.weightBytes - workBytes;
  const roomTokens = Math.floor(room / perToken / pageTokens) * pageTokens;
  const contextLength = Math.min(mostContext, roomTokens);
  if (contextLength < mostContext)
    notes.push(`context: ${mostContext} tokens wanted, but there is room for ${roomTokens}`);
  const mostParallel = options.parallel ?? profile.parallel;
  const parallel = Math.max(1, Math.min(mostParallel, Math.floor(roomTokens / contextLength)));
  if (parallel < mostParallel && options.parallel === undefined)
    notes.push(`requests at once: ${mostParallel} wanted, but there is room for ${parallel} contexts`);
  const cacheTokens = Math.min(roomTokens, Math.max(contextLength, pages(parallel * contextLength)));
  return {
    profile: name,
    aim: profile.aim,
    threads,
    memoryBytes,
    parts: {
      programBytes,
      weightBytes: model.weightBytes,
      workBytes,
      cacheBytes: Math.ceil(cacheTokens * model.kvBytesPerToken + contextLength * model.tableBytesPerToken),
    },
    screening,
    contextLength,
    cacheTokens,
    parallel: options.parallel ?? parallel,
    maxQueued: profile.waitingPerRunning * parallel,
    maxOutputTokens: Math.min(profile.maxOutputTokens, contextLength),
    notes,
  };
}

function pages(tokens: number): number {
  return Math.ceil(tokens / pageTokens) * pageTokens;
}

function mebibytes(bytes: number): string {
  return `${(bytes / mebi).toFixed(bytes < 100 * mebi ? 1 : 0)} MiB`;
}

/** In lines, for people. */
export function describePlan(plan: ProfilePlan): string {
  const { parts } = plan;
  return [
    `profile ${plan.profile} (${plan.aim}): ${plan.threads} threads, ${mebibytes(plan.memoryBytes)} of memory`,
    `  memory   ${mebibytes(parts.programBytes)} program + ${mebibytes(parts.weightBytes)} weights + ${mebibytes(parts.workBytes)} work space + ${mebibytes(parts.cacheBytes)} KV cache`,
    `  context  ${plan.contextLength} tokens, ${plan.cacheTokens} in the cache; answers up to ${plan.maxOutputTokens}`,
    `  requests ${plan.parallel} at once, ${plan.maxQueued} waiting${plan.screening ? "" : "; screening off"}`,
    ...plan.notes.map((note) => `  note     ${note}`),
  ].join("\n");
}
