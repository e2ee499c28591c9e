/** What a machine is called and has, and how much of its time others take while something is measured. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, type as osType, release, totalmem } from "node:os";

export interface Machine {
  cpu: string;
  /** Cores that this process may use. */
  cores: number;
  /** Instruction sets of the kernels that work here, best first. */
  isas: string[];
  lastLevelCache: string | null;
  memoryBytes: number;
  os: string;
  node: string;
}

export function describeMachine(isas: readonly string[]): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    isas: [...isas],
    lastLevelCache: readText("/sys/devices/system/cpu/cpu0/cache/index3/size"),
    memoryBytes: totalmem(),
    os: `${osType()} ${release()}`,
    node: process.version,
  };
}

/** Processor time in ticks: of the whole machine, spent on anything, and spent on this measurement. */
interface Ticks {
  total: number;
  busy: number;
  own: number;
}

/**
 * Begins to watch; the function it returns says which share of the machine's time went to others until then, be they processes or
 * other guests of the same host. null where the system does not tell.
 * @param pids Processes that belong to the measurement beside this one and its finished children.
 */
export function watchOthers(pids: readonly number[]): () => number | null {
  const before = readTicks(pids);
  return () => {
    const after = readTicks(pids);
    if (before === null || after === null || after.total <= before.total) return null;
    const others = after.busy - before.busy - (after.own - before.own);
    return Math.max(0, others) / (after.total - before.total);
  };
}

/** Linux kernel documentation: proc(5), /proc/stat and /proc/[pid]/stat. */
function readTicks(pids: readonly number[]): Ticks | null {
  const machine = /^cpu +(.*)$/m.exec(readText("/proc/stat") ?? "")?.[1];
  if (machine === undefined) return null;
  // user nice system idle iowait irq softirq steal; guests are counted in user and nice already.
  const fields = machine.split(" ").slice(0, 8).map(Number);
  const total = fields.reduce((sum, field) => sum + field, 0);
  const busy = total - (fields[3] ?? 0) - (fields[4] ?? 0);
  const own = ["self", ...pids.map(String)].reduce((sum, pid) => sum + processTicks(pid), 0);
  return { total, busy, own };
}

/** A process and all that it and its children have started and that still run. */
export function processTree(pid: number): number[] {
  if (!existsSync("/proc/self/stat")) return [pid];
  const names = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const pairs = names.map((name) => {
    const text = readText(`/proc/${name}/stat`) ?? "";
    return [Number(name), Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[1])] as const;
  });
  const tree = [pid];
  for (const each of tree)
    tree.push(...pairs.filter(([, parent]) => parent === each).map(([child]) => child));
  return tree;
}

/** user, system, and both of the children that have ended. */
function processTicks(pid: string): number {
  const text = readText(`/proc/${pid}/stat`) ?? "";
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
}

export interface ProcessMemory {
  /** Bytes of memory that belong to this process alone, all of Node included. */
  anonymousBytes: number;
  /** Bytes of files and shared memory that it has in memory. */
  sharedBytes: number;
}

/** null where the system does not tell. */
export function processMemory(): ProcessMemory | null {
  const status = readText("/proc/self/status");
  if (status === null) return null;
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0);
  return {
    anonymousBytes: 1024 * kilobytes("RssAnon"),
    sharedBytes: 1024 * (kilobytes("RssFile") + kilobytes("RssShmem")),
  };
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return null;
  }
}
