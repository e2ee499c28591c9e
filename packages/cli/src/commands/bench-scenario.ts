/** `bitnet bench --scenario`: measures how a model decodes alone and together with others, and judges it for a kind of machine. */
import { pageTokens } from "@bitnet.ts/core";
import { measureReadBandwidth } from "bitnet.ts";
import { type BenchFlags, checkLength, printResult } from "../bench-flags.ts";
import { runBatch } from "../bench-run.ts";
import { batchSizes, describeScenario, judgeScenario, type Scenario } from "../bench-scenarios.ts";
import { median } from "../format.ts";
import { loadModel } from "../load-model.ts";
import type { Session } from "../session.ts";

export async function benchScenario(scenario: Scenario, flags: BenchFlags, session: Session): Promise<void> {
  const tokensPerSequence = flags.nPrompt + flags.nGen;
  const model = await loadModel(flags, session, session.signal, {
    threads: flags.threads ?? scenario.threads,
    // Admission keeps a page free for every running text, beside the one that is not yet full.
    cacheTokens: Math.max(...batchSizes) * (tokensPerSequence + 2 * pageTokens),
  });
  try {
    checkLength(model, flags);
    const { info } = model;
    const { privateBytes, mappedBytes, kvBytesPerToken } = model.stats();
    const settings = { ...flags, signal: session.signal };
    const batches = [];
    for (const sequences of batchSizes) {
      const samples = [];
      for (let run = 0; run <= flags.repetitions; run++)
        samples.push(await runBatch(model, settings, sequences, run * batchSizes.length + sequences));
      const measured = samples.slice(1);
      batches.push({
        sequences,
        tokensPerSecond: median(measured.map((sample) => sample.tokensPerSecond)),
        tokenMs: median(measured.map((sample) => sample.tokenMs)),
        memoryBytes: privateBytes + mappedBytes + sequences * tokensPerSequence * kvBytesPerToken,
      });
    }
    const bareRead = info.backend === "native" ? await measureReadBandwidth(info.threads) : null;
    const [single] = batches;
    const measured = {
      ...{ scenario, threads: info.threads, tokensPerSequence, batches },
      ...{ privateBytes, mappedBytes, kvBytesPerToken },
      bandwidthShare:
        bareRead === null || single === undefined
          ? null
          : (info.bytesPerToken * single.tokensPerSecond) / bareRead,
    };
    const answer = judgeScenario(measured);
    const { source, backend, isa } = info;
    await printResult(
      session,
      flags,
      { model: source, backend, isa, ...measured, ...answer },
      describeScenario(measured, answer),
    );
  } finally {
    await model.dispose();
  }
}
