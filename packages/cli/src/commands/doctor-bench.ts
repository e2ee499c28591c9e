/** `bitnet doctor --bench`: one line of JSON on this machine and its speed, for people to send to each other; nothing in it names a person or a path. */
import { availableParallelism, cpus, totalmem } from "node:os";
import { BitNet, backendReport, embeddedModelPath, measureReadBandwidth } from "bitnet.ts";
import { sampleInTurn } from "../bench-flags.ts";
import { median } from "../format.ts";
import { packageVersion } from "../package-version.ts";
import type { Session } from "../session.ts";

const sizes = { nPrompt: 128, nGen: 64, repetitions: 5, seed: 1 };

/** Of the small model inside, which every machine has: it tells how fast kernels are; memory is told by the bare read. */
export async function benchMachine(session: Session): Promise<void> {
  const backends = await backendReport();
  const model = await BitNet.load(embeddedModelPath(), { onNotice: session.aside, signal: session.signal });
  try {
    const { backend, isa, threads, bytesPerToken } = model.info;
    const [samples = []] = await sampleInTurn([model], sizes, session.signal);
    const bareRead = backend === "native" ? await measureReadBandwidth(threads) : null;
    const report = {
      version: packageVersion(),
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
      cpu: cpus()[0]?.model ?? "unknown",
      cores: availableParallelism(),
      memoryBytes: totalmem(),
      backend,
      isa,
      threads,
      rejected: backends.flatMap(({ variants }) =>
        variants.filter(({ verdict }) => verdict === "rejected").map((variant) => variant.isa),
      ),
      bareReadBytesPerSecond: bareRead,
      bytesPerToken,
      promptTokens: sizes.nPrompt,
      promptTokensPerSecond: median(samples.map(({ promptTokensPerSecond }) => promptTokensPerSecond)),
      decodeTokensPerSecond: median(samples.map(({ decodeTokensPerSecond }) => decodeTokensPerSecond)),
    };
    await session.write(`${JSON.stringify(report)}\n`);
  } finally {
    await model.dispose();
  }
}
