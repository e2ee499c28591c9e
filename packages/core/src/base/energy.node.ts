/**
 * Energy that the processors and their memory have used, from the counters of RAPL (Linux kernel documentation: "Power Capping
 * Framework"). The counters belong to the whole machine, whoever keeps it busy, and often only root may read them.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface EnergyMeter {
  /** Joules since the meter was opened. Has to be asked at least once while a counter runs round: some ten minutes. */
  joules(): number;
}

interface Counter {
  read: () => number | null;
  /** Where it starts again from 0, in microjoules. */
  range: number;
  last: number;
}

/** A package holds cores and uncore, which are counted again below it, but not the memory. `psys` holds packages. */
const counted = /^(package-\d+|dram)$/;

/** @returns null where the machine has no counters or does not let this process read all of them. */
export function openEnergyMeter(folder = "/sys/class/powercap"): EnergyMeter | null {
  const counters = openCounters(folder);
  if (counters === null || counters.length === 0) return null;
  let microjoules = 0;
  return {
    joules() {
      for (const counter of counters) {
        const now = counter.read() ?? counter.last;
        microjoules += now >= counter.last ? now - counter.last : now + counter.range - counter.last;
        counter.last = now;
      }
      return microjoules / 1e6;
    },
  };
}

function openCounters(folder: string): Counter[] | null {
  const counters: Counter[] = [];
  for (const zone of zonesIn(folder)) {
    const path = join(folder, zone);
    if (!counted.test(readText(join(path, "name")) ?? "")) continue;
    const read = () => readNumber(join(path, "energy_uj"));
    const last = read();
    const range = readNumber(join(path, "max_energy_range_uj"));
    if (last === null || range === null) return null; // a sum without one of its parts would mislead
    counters.push({ read, range, last });
  }
  return counters;
}

/** `intel-rapl:0` and its parts `intel-rapl:0:1`, on AMD too; `intel-rapl-mmio` shows the same counters again. */
function zonesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => /^intel-rapl(:\d+){1,2}$/.test(name));
  } catch {
    return [];
  }
}

function readNumber(path: string): number | null {
  const text = readText(path);
  return text !== null && /^\d+$/.test(text) ? Number(text) : null;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return null;
  }
}
