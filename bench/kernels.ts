/** The kernels by shape and instruction set on one core: the C++ program packages/native/engine/kernels/test/kernel-bench.cc, read back. */
import { buildKernelTool } from "@bitnet.ts/native/build/kernel-program";
import { parseKernelLines } from "./harness/kernel-lines.ts";
import { watchOthers } from "./harness/machine.ts";
import { outputOf } from "./harness/rooflines.ts";
import { runBench } from "./harness/run-bench.ts";

await runBench("kernels", async ({ options, isas, isa, say }) => {
  const program = await buildKernelTool(options.isQuick ? "bare-loops" : "kernel-bench");
  if (program === null) throw new Error("a C++ compiler is needed: set CXX, or install c++, g++ or clang++");
  const stop = watchOthers([]);
  let text = "";
  for (const each of options.isas ?? isas.filter((name) => name !== "scalar")) {
    say(`kernels: ${each}`);
    text += await outputOf(program, [each]);
  }
  const { rows, rooflines, notes } = parseKernelLines(text);
  return {
    models: [],
    ...{ isa, rows, rooflines, notes },
    threads: 1,
    columns: [
      { key: "isa", label: "instruction set", unit: "" },
      { key: "kernel", label: "kernel", unit: "" },
      { key: "gigabytes", label: "reads", unit: "GB/s" },
      { key: "gigamacs", label: "multiplies", unit: "GMAC/s" },
      { key: "share", label: "of the roofline", unit: "share" },
    ],
    verdicts: [],
    disturbance: stop(),
  };
});
