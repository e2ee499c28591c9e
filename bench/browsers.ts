/**
 * The same model on pages of Chromium and Firefox, beside the native backend and WebAssembly in Node, in turn; and in Chromium a model of the same sizes
 * (TQ2_0) in wllama, which is llama.cpp in WebAssembly, and one of the same widths and bytes in Transformers.js, which opens ONNX alone, where
 * weights take four bits at least.
 */
import { median, RandomBits, randomPrompt, runOnce } from "@bitnet.ts/cli/measuring";
import type { BitNet } from "bitnet.ts";
import { BrowserModel, type BrowserName, browsers, type PageRates } from "./harness/browser-model.ts";
import { processTree } from "./harness/machine.ts";
import { type PageGiven, peers } from "./harness/page-peers.ts";
import type { Row, Verdict } from "./harness/result.ts";
import { runBench } from "./harness/run-bench.ts";

const seed = 7;

interface Engine {
  name: string;
  isa: string;
  loadMs: number;
  sample(run: number): Promise<PageRates>;
}

await runBench("browsers", async (context) => {
  const { options, isa, threads, rooflines } = context;
  if (browsers.length === 0) throw new Error("neither Debian's chromium nor firefox-esr is here");
  const [nPrompt, nGen] = options.isQuick ? [16, 4] : [128, 32];
  const sizes = { threads, contextLength: nPrompt + nGen + 64 };
  const path = context.model();
  const models: BitNet[] = [];
  const pages: BrowserModel[] = [];
  try {
    for (const backend of ["native", "wasm"] as const)
      models.push(await context.load(path, { ...sizes, backend, ...(backend === "native" ? { isa } : {}) }));
    const [native] = models as [BitNet];
    const promptOf = (run: number) => [...randomPrompt(native, nPrompt, new RandomBits(seed, run))];
    const notes = [
      "wllama rounds activations per block and computes the head whole; multiply-adds and bytes of the body are the same",
    ];
    const open = async (browser: BrowserName, name: string, given: PageGiven): Promise<Engine> => {
      context.say(`loading: ${name}`);
      const page = await BrowserModel.start(browser, { ...sizes, ...given });
      pages.push(page);
      const { isa: found, loadMs } = page.info;
      return { name, isa: found, loadMs, sample: (run) => page.run(promptOf(run), nGen) };
    };
    const engines: Engine[] = models.map((model) => ({
      name: model.info.backend === "native" ? "native" : "Node",
      isa: model.info.isa,
      loadMs: model.info.loadMs,
      sample: (run) => runOnce(model, { nPrompt, nGen, seed }, run),
    }));
    for (const name of options.isQuick ? browsers.slice(0, 1) : browsers)
      engines.push(await open(name, name, { model: path, script: "own" }));
    for (const peer of !options.isQuick && browsers.includes("chromium") ? peers : []) {
      try {
        const engine = await open("chromium", peer.name, peer.prepare(context, path, notes));
        // One that loads and then fails is left out as well.
        await engine.sample(0);
        engines.push(engine);
      } catch (error) {
        notes.push(`${peer.name} could not be measured: ${error instanceof Error ? error.message : error}`);
      }
    }
    context.say("measuring");
    const pids = pages.flatMap(({ pid }) => processTree(pid));
    const { samples, disturbance } = await context.sample(engines, 3, pids);
    const middle = (i: number, key: keyof PageRates) => median((samples[i] ?? []).map((each) => each[key]));
    const rows: Row[] = engines.map(({ name, isa: found, loadMs }, i) => {
      const [decode, prefill] = [middle(i, "decodeTokensPerSecond"), middle(i, "promptTokensPerSecond")];
      return {
        ...{ engine: name, isa: found, decode, decodeRatio: decode / middle(0, "decodeTokensPerSecond") },
        ...{ prefill, prefillRatio: prefill / middle(0, "promptTokensPerSecond"), load: loadMs },
      };
    });
    return {
      models: [path],
      ...{ isa, threads, rows, disturbance },
      rooflines: rooflines.all,
      columns: [
        { key: "engine", label: "engine", unit: "" },
        { key: "isa", label: "instruction set", unit: "" },
        { key: "decode", label: "decode", unit: "tok/s" },
        { key: "decodeRatio", label: "× native", unit: "" },
        { key: "prefill", label: `prefill of ${nPrompt}`, unit: "tok/s" },
        { key: "prefillRatio", label: "× native", unit: "" },
        { key: "load", label: "load", unit: "ms" },
      ],
      verdicts: verdictsOf(rows),
      notes,
    };
  } finally {
    for (const page of pages) await page.close();
    for (const model of models) await model.dispose();
  }
});

/** Of a small machine with all cores, as in Node (wasm.ts); of the peer, that it is slower. */
function verdictsOf(rows: readonly Row[]): Verdict[] {
  const of = (engine: string, key: string) => {
    const value = rows.find((row) => row.engine === engine)?.[key];
    return typeof value === "number" ? value : null;
  };
  const verdict = (
    what: string,
    measured: number | null,
    unit: Verdict["unit"],
    wanted: number,
  ): Verdict => ({
    ...{ what, measured, unit, wanted },
    bound: "least",
    ...(measured === null ? { remark: "not on this machine" } : {}),
  });
  const ratio = (key: string, peer: string) => {
    const [own, other] = [of("chromium", key), of(peer, key)];
    return own === null || other === null ? null : own / other;
  };
  return [
    ...(["chromium", "firefox"] as const).map((name) =>
      verdict(`decode in ${name}`, of(name, "decode"), "tok/s", 12),
    ),
    ...peers.flatMap(({ name }) => [
      verdict(`decode in chromium against ${name}`, ratio("decode", name), "×", 1),
      verdict(`prefill in chromium against ${name}`, ratio("prefill", name), "×", 1),
    ]),
  ];
}
