/** `npm run bench`: lists the benches, runs one, or runs all and rewrites results, plots and the tables of BENCHMARKS.md. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { benches } from "./benches.ts";
import { repository } from "./harness/models.ts";
import { usage } from "./harness/options.ts";

const [name, ...args] = process.argv.slice(2);
if (name === undefined || name === "--help") list();
else if (name === "all") runAll();
else if (benches.some((bench) => bench.name === name)) process.exitCode = runOne(name, args);
else {
  console.error(`bench: there is no "${name}"; run "npm run bench" for the list`);
  process.exitCode = 1;
}

function list(): void {
  const width = Math.max(...benches.map((bench) => bench.name.length));
  const lines = benches.map((bench) => `  ${bench.name.padEnd(width)}  ${bench.question}`);
  const all = `  ${"all".padEnd(width)}  All of them; rewrites bench/results, docs/bench and the tables of BENCHMARKS.md.`;
  console.log(["npm run bench -- NAME [options]", "", ...lines, all, "", usage].join("\n"));
}

function runOne(bench: string, options: readonly string[]): number {
  return run(join(import.meta.dirname, `${bench}.js`), options);
}

/** Goes on where one fails, for instance without a network for the peer. */
function runAll(): void {
  const failed = benches
    .map((bench) => bench.name)
    .filter(
      (bench) =>
        runOne(bench, [...args, "--json", join(repository, "bench", "results", `${bench}.json`)]) !== 0,
    );
  const scripts = join(repository, "build", "scripts");
  for (const script of ["plot-benchmarks.js", "benchmark-tables.js"])
    if (run(join(scripts, script), []) !== 0) failed.push(script);
  if (failed.length === 0) return;
  console.error(`bench: failed: ${failed.join(", ")}`);
  process.exitCode = 1;
}

function run(program: string, options: readonly string[]): number {
  return spawnSync(process.execPath, [program, ...options], { stdio: "inherit" }).status ?? 1;
}
