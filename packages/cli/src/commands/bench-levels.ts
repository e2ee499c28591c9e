/** `bitnet bench --levels`: loads the model once per level and measures the levels in turn. */
import { type BitNet, backendReport } from "bitnet.ts";
import { type BenchFlags, checkLength, printResult, sampleInTurn } from "../bench-flags.ts";
import { describeLevels, type LevelName, planLevels, summariseLevel } from "../bench-levels.ts";
import { loadModel, modelSource } from "../load-model.ts";
import type { Session } from "../session.ts";

export async function benchLevels(flags: BenchFlags, session: Session): Promise<void> {
  const plans = planLevels(flags.backend, await backendReport());
  const models = new Map<LevelName, BitNet>();
  try {
    for (const plan of plans) {
      if ("unavailable" in plan) continue;
      const model = await loadModel(flags, session, session.signal, plan.load);
      models.set(plan.level, model);
      checkLength(model, flags);
    }
    const samples = await sampleInTurn([...models.values()], flags, session.signal);
    const samplesOf = new Map([...models.keys()].map((level, i) => [level, samples[i] ?? []]));
    const { nPrompt, nGen } = flags;
    const levels = plans.flatMap((plan) => {
      if ("unavailable" in plan) return plan;
      const { level, summary } = plan;
      const model = models.get(level);
      if (model === undefined) return [];
      const { info } = model;
      const measured = { info, stats: model.stats(), samples: samplesOf.get(level) ?? [], nPrompt, nGen };
      return { summary, ...summariseLevel(level, measured) };
    });
    const result = {
      model: modelSource(flags),
      request: { promptTokens: nPrompt, generatedTokens: nGen },
      levels,
    };
    await printResult(session, flags, result, describeLevels(levels));
  } finally {
    for (const model of models.values()) await model.dispose();
  }
}
