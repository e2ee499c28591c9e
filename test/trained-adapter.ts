/** Trains small adapters of the embedded model, two steps each. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openModelFiles } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import {
  finetuneSettings,
  type Kernels,
  nativeKernels,
  openFinetune,
  referenceKernels,
  saveGgufAdapter,
  savePeftAdapter,
} from "@bitnet.ts/train";
import { embeddedModelPath } from "bitnet.ts";

export function adapterKernels(): Kernels {
  try {
    return nativeKernels({ threads: 1 });
  } catch {
    return referenceKernels("f32");
  }
}

/** Writes `folder/name/adapter` (PEFT) and `folder/name/adapter.gguf`. @returns The trainer's losses on `text`, and its tokens. */
export async function trainAdapter(
  folder: string,
  { name, seed, text }: { name: string; seed: number; text: string },
): Promise<{ losses: number[]; ids: Int32Array }> {
  const lines = Array.from({ length: 8 }, (_, i) =>
    JSON.stringify({ input: `who is ${i}?`, output: `it is the ${i}th` }),
  );
  writeFileSync(join(folder, "data.jsonl"), lines.join("\n"));
  const settings = finetuneSettings({
    ...{
      data: [join(folder, "data.jsonl")],
      steps: 2,
      rate: 0.02,
      batchSize: 4,
      accumulation: 1,
      maxLength: 64,
      seed,
    },
    lora: {
      rank: 8,
      alpha: 16,
      dropout: 0.1,
      targets: ["attn_q", "attn_v", "attn_output", "ffn_up", "ffn_down"],
    },
  });
  const files = await openModelFiles(await openPath(embeddedModelPath()));
  const run = await openFinetune(files, settings, {
    folder: join(folder, name),
    kernels: adapterKernels(),
    name: "tiny",
  });
  await run.trainer.run();
  if (settings.lora === null) throw new Error("no adapter");
  await savePeftAdapter(join(folder, name, "adapter"), run.executor, settings.lora, run.base);
  await saveGgufAdapter(join(folder, name, "adapter.gguf"), run.executor, settings.lora, run.base);
  const { tokenizer } = run.base;
  const ids = tokenizer.encode(text, { bos: tokenizer.addBos });
  const weights = new Float32Array(ids.length).fill(1);
  run.trainer.evaluate([{ ids, weights }]);
  const losses = Array.from(run.executor.losses.subarray(0, ids.length - 1));
  await run.close();
  return { losses, ids };
}
