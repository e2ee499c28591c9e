/** What a browser takes of memory, all of its processes together. Linux only. */
import { readFileSync } from "node:fs";
import { processTree } from "../bench/harness/machine.ts";

/** Bytes of their own (not of files) that a process and its descendants have in memory. */
export function residentBytes(pid: number): number {
  return processTree(pid).reduce((sum, each) => sum + ownBytes(each), 0);
}

function ownBytes(pid: number): number {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return 0; // it has ended meanwhile
  }
  const kilobytes = ["RssAnon", "RssShmem"].map((name) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0),
  );
  return 1024 * kilobytes.reduce((sum, each) => sum + each, 0);
}
