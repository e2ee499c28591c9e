import { availableParallelism } from "node:os";
import { describe, expect, it } from "vitest";
import { availableThreads, groupCpuLimit } from "./threads.ts";

function files(entries: Record<string, string>): (path: string) => string | undefined {
  return (path) => entries[path];
}

describe("available threads", () => {
  it("is at least one and no more than the cores", () => {
    expect(availableThreads()).toBeGreaterThanOrEqual(1);
    expect(availableThreads()).toBeLessThanOrEqual(availableParallelism());
  });

  it("takes the least quota on the way up, version 2", () => {
    const read = files({
      "/proc/self/cgroup": "0::/pod/app\n",
      "/sys/fs/cgroup/pod/app/cpu.max": "max 100000\n",
      "/sys/fs/cgroup/pod/cpu.max": "250000 100000\n",
      "/sys/fs/cgroup/cpu.max": "800000 100000\n",
    });
    expect(groupCpuLimit(read)).toBe(2.5);
  });

  it("reads version 1", () => {
    const read = files({
      "/proc/self/cgroup": "5:memory:/a\n4:cpu,cpuacct:/docker/x\n0::/y\n",
      "/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "150000\n",
      "/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    });
    expect(groupCpuLimit(read)).toBe(1.5);
  });

  it.each([
    {},
    { "/proc/self/cgroup": "0::/\n" },
    { "/proc/self/cgroup": "0::/a\n", "/sys/fs/cgroup/a/cpu.max": "max 1" },
  ])("finds no limit in %o", (entries) => {
    expect(groupCpuLimit(files(entries))).toBeUndefined();
  });
});
