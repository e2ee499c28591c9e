/** `bitnet bench --levels` and `--scenario` on the embedded model, in processes of their own. What they report, not how fast it is. */
import { describe, expect, it } from "vitest";
import { bitnet, bitnetJson } from "./cli-process.ts";

const small = ["-p", "8", "-n", "4", "-r", "1"];

interface Levels {
  request: { promptTokens: number; generatedTokens: number };
  levels: {
    level: string;
    unavailable?: string;
    isa?: string;
    threads?: number;
    decodeTokensPerSecond?: number;
    tokenMs?: number;
    efficiency?: number;
    memoryBytes?: number;
    requestsPerMinute?: number;
  }[];
}

describe("levels", () => {
  it("measures what can run and names what cannot", async () => {
    const { request, levels } = await bitnetJson<Levels>(["bench", "--levels", ...small]);
    expect(request).toEqual({ promptTokens: 8, generatedTokens: 4 });
    expect(levels.map(({ level }) => level)).toEqual(["baseline", "optimized", "aggressive"]);
    expect(levels[0]).toMatchObject({ isa: "scalar", threads: 1 });
    for (const level of levels) {
      if (level.unavailable !== undefined) continue;
      const { decodeTokensPerSecond = 0, tokenMs = 0, efficiency = 0, memoryBytes = 0 } = level;
      expect(decodeTokensPerSecond * tokenMs).toBeCloseTo(1000, 6);
      expect((efficiency * memoryBytes) / 1e9).toBeCloseTo(decodeTokensPerSecond, 6);
      expect(level.requestsPerMinute).toBeGreaterThan(0);
    }
  });

  it("has one level on the reference backend, and says why", async () => {
    const { status, stdout } = await bitnet(["bench", "--levels", "--backend", "reference", ...small]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Machine +reference\/scalar × 1$/m);
    expect(stdout).toMatch(/^optimized: not available: .*the reference backend was asked for/m);
  });
});

interface ScenarioReport {
  scenario: { name: string; threads: number; memoryLimitBytes: number; priority: string };
  fits: boolean;
  recommendedBatch: number | null;
  batches: { sequences: number; tokensPerSecond: number; memoryBytes: number }[];
  kvBytesPerToken: number;
  tips: string[];
}

describe("scenario", () => {
  it("judges the model by what it measured", async () => {
    const report = await bitnetJson<ScenarioReport>(["bench", "--scenario", "edge", ...small]);
    expect(report.scenario).toEqual({
      name: "edge",
      threads: 4,
      memoryLimitBytes: 1024e6,
      priority: "efficiency",
    });
    expect(report.fits).toBe(true);
    const sizes = report.batches.map(({ sequences }) => sequences);
    expect(sizes).toEqual([1, 2, 4, 8, 16]);
    expect(sizes).toContain(report.recommendedBatch);
    const [first, second] = report.batches;
    expect((second?.memoryBytes ?? 0) - (first?.memoryBytes ?? 0)).toBe(12 * report.kvBytesPerToken);
  });

  it("says nothing on stderr and explains itself", async () => {
    const { status, stdout, stderr } = await bitnet(["bench", "--scenario", "mobile", ...small]);
    expect({ status, stderr: stderr.replace(/^bitnet: no native backend.*\n/, "") }).toEqual({
      status: 0,
      stderr: "",
    });
    expect(stdout).toMatch(/^Scenario +mobile: 2 threads, 512 MB, for latency$/m);
    expect(stdout).toMatch(/^Sequences +Together +Per token +Memory$/m);
  });

  it("refuses a name that does not exist, and both kinds at once", async () => {
    const unknown = await bitnet(["bench", "--scenario", "toaster"]);
    expect(unknown.status).toBe(1);
    expect(unknown.stderr).toMatch(/toaster.*mobile, edge, server, cloud/);
    const both = await bitnet(["bench", "--scenario", "edge", "--levels"]);
    expect(both.status).toBe(1);
    expect(both.stderr).toMatch(/--levels.*cannot be used with.*--scenario/);
  });
});
