import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openEnergyMeter } from "./energy.node.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-energy-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function zone(name: string, label: string, microjoules: number | null): void {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "name"), `${label}\n`);
  writeFileSync(join(path, "max_energy_range_uj"), "1000000000\n");
  if (microjoules !== null) writeFileSync(join(path, "energy_uj"), `${microjoules}\n`);
}

it("adds packages and memory, once each", () => {
  zone("intel-rapl:0", "package-0", 5_000_000);
  zone("intel-rapl:0:0", "core", 1_000_000);
  zone("intel-rapl:0:1", "dram", 2_000_000);
  zone("intel-rapl:1", "package-1", 0);
  zone("intel-rapl:2", "psys", 0);
  zone("intel-rapl-mmio:0", "package-0", 5_000_000);
  zone("dtpm", "package-0", 5_000_000);
  const meter = openEnergyMeter(folder);
  expect(meter?.joules()).toBe(0);
  zone("intel-rapl:0", "package-0", 8_000_000);
  zone("intel-rapl:0:0", "core", 3_000_000);
  zone("intel-rapl:0:1", "dram", 2_500_000);
  zone("intel-rapl:1", "package-1", 1_000_000);
  zone("intel-rapl:2", "psys", 9_000_000);
  zone("intel-rapl-mmio:0", "package-0", 8_000_000);
  zone("dtpm", "package-0", 9_000_000);
  expect(meter?.joules()).toBe(4.5);
});

it("follows a counter that starts again", () => {
  zone("intel-rapl:0", "package-0", 999_000_000);
  const meter = openEnergyMeter(folder);
  zone("intel-rapl:0", "package-0", 2_000_000);
  expect(meter?.joules()).toBe(3);
  zone("intel-rapl:0", "package-0", 2_500_000);
  expect(meter?.joules()).toBe(3.5);
});

it("is absent where there are no counters, or one that cannot be read", () => {
  expect(openEnergyMeter(join(folder, "missing"))).toBeNull();
  expect(openEnergyMeter(folder)).toBeNull();
  zone("intel-rapl:0", "package-0", 1);
  zone("intel-rapl:1", "package-1", null);
  expect(openEnergyMeter(folder)).toBeNull();
});
