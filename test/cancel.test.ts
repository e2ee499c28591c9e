/** A hundred generations at once, cancelled at random: nothing stays behind. */

import { nativeAllocations } from "@bitnet.ts/native";
import { BitNet } from "bitnet.ts";
import { expect, it } from "vitest";
import { seededIntegers } from "./seeded.ts";
import { tinyModels, usableIsas } from "./tiny-model.ts";

const hasNative = usableIsas().length > 0;

it.skipIf(!hasNative)(
  "100 generations with random cancels leave no page and no native allocation",
  async () => {
    const before = nativeAllocations();
    const model = await BitNet.load(tinyModels.i2_s, { backend: "native", threads: 2 });
    const random = seededIntegers(7);
    const reasons = new Map<string, number>();
    await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const controller = new AbortController();
        const prompt = "The state of the Union ".repeat(1 + (random() % 8));
        const generation = model.generate(prompt, {
          maxTokens: 5 + (random() % 40),
          seed: i,
          signal: controller.signal,
        });
        const cancelAfter = random() % 3 === 0 ? Number.POSITIVE_INFINITY : random() % 20;
        const leaves = random() % 2 === 0;
        if (cancelAfter === 0) controller.abort();
        let seen = 0;
        for await (const _piece of generation) {
          if (++seen < cancelAfter) continue;
          if (leaves) break;
          controller.abort();
        }
        const { stopReason } = await generation.result;
        reasons.set(stopReason, (reasons.get(stopReason) ?? 0) + 1);
      }),
    );
    expect(reasons.get("abort")).toBeGreaterThan(20);
    expect(reasons.get("length")).toBeGreaterThan(10);
    expect(model.stats()).toMatchObject({ running: 0, waiting: 0, paused: 0, pagesInUse: 0 });
    await model.dispose();
    expect(nativeAllocations()).toEqual(before);
  },
);
