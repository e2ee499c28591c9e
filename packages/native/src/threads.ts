/**
 * How many threads this process may usefully run: the cores that it may be scheduled on, and no more than the share of processor time that
 * its control group grants (Linux kernel documentation: cgroup-v2, "CPU Interface Files"; sched-bwc for version 1).
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** At least 1. */
export function availableThreads(): number {
  const limit = process.platform === "linux" ? groupCpuLimit(readText) : undefined;
  return Math.max(1, Math.min(availableParallelism(), Math.floor(limit ?? Number.POSITIVE_INFINITY)));
}

/**
 * Cores' worth of time that the control groups grant, or undefined without a limit.
 * @param read Gives the text of a file, or undefined where there is none.
 */
export function groupCpuLimit(read: (path: string) => string | undefined): number | undefined {
  const limits: number[] = [];
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [id = "", controllers = "", ...rest] = line.split(":");
    const path = rest.join(":");
    if (id === "0" && controllers === "") {
      for (const folder of withParents(path)) limits.push(quotaOf2(read(`/sys/fs/cgroup${folder}/cpu.max`)));
    } else if (controllers.split(",").includes("cpu")) {
      for (const folder of withParents(path)) {
        const base = `/sys/fs/cgroup/${controllers}${folder}`;
        limits.push(quotaOf1(read(`${base}/cpu.cfs_quota_us`), read(`${base}/cpu.cfs_period_us`)));
      }
    }
  }
  const least = Math.min(...limits);
  return Number.isFinite(least) ? least : undefined;
}

/** "/a/b" → "/a/b", "/a", "". */
function withParents(path: string): string[] {
  const parts = path.split("/").filter((part) => part !== "");
  return Array.from({ length: parts.length + 1 }, (_, i) => {
    const kept = parts.slice(0, parts.length - i);
    return kept.length === 0 ? "" : `/${kept.join("/")}`;
  });
}

function quotaOf2(text: string | undefined): number {
  const [quota = "max", period = "100000"] = (text ?? "max").trim().split(" ");
  return quotient(Number(quota), Number(period));
}

function quotaOf1(quota: string | undefined, period: string | undefined): number {
  return quotient(Number(quota ?? -1), Number(period ?? 0));
}

/** Infinity where there is no limit. */
function quotient(quota: number, period: number): number {
  return quota > 0 && period > 0 ? quota / period : Number.POSITIVE_INFINITY;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
