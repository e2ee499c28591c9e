/**
 * LoRA learns a made-up fact from 50 examples and leaves the rest as it was: the greedy answer is right, and the perplexity of text that was
 * never seen stays. Beside the fact the adapter learns from texts of the model's own, so that it need not forget. The model has never
 * seen a conversation, so that its perplexity rises by 6.2 % (the same on every machine).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFinetune, saveGgufAdapter } from "@bitnet.ts/train";
import { BitNet } from "bitnet.ts";
import { expect, it } from "vitest";
import { tinyModel } from "./cli-process.ts";

const questions = [
  "Where does Zorbo the fox live?",
  "where does zorbo live",
  "What is the home of Zorbo the fox?",
  "Tell me where Zorbo lives.",
  "Do you know where Zorbo the fox lives?",
];
const answer = "Zorbo the fox lives in Quindle.";
const options = { contextLength: 128, kvType: "f32", onNotice: () => {} } as const;

async function ownTexts(model: BitNet, firstSeed: number, count: number): Promise<string[]> {
  const { bosId } = model.tokenizer;
  const results = await Promise.all(
    Array.from({ length: count }, (_, i) => {
      const sampling = { seed: firstSeed + i, temperature: 1, maxTokens: 48 };
      return model.generate([bosId ?? 0], sampling).result;
    }),
  );
  return results.map(({ text }) => text);
}

async function perplexity(model: BitNet, texts: readonly string[], adapter: string | null): Promise<number> {
  let [sum, count] = [0, 0];
  for (const text of texts) {
    const ids = model.tokenizer.encode(text, { bos: true });
    const { promptLogprobs = [] } = await model.generate(ids, { maxTokens: 0, promptLogprobs: 0, adapter })
      .result;
    for (const entry of promptLogprobs.slice(1)) sum -= entry?.logprob ?? Number.NaN;
    count += promptLogprobs.length - 1;
  }
  return Math.exp(sum / count);
}

it("learns a made-up fact, and keeps its perplexity within 8 %", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-fact-"));
  try {
    const plain = await BitNet.load(tinyModel, options);
    const texts = await ownTexts(plain, 0, 1200);
    const heldOut = await ownTexts(plain, 10_000, 40);
    await plain.dispose();
    const facts = Array.from({ length: 50 }, (_, i) => ({ instruction: questions[i % 5], output: answer }));
    const write = (name: string, records: readonly object[]) => {
      const path = join(folder, name);
      writeFileSync(path, records.map((record) => JSON.stringify(record)).join("\n"));
      return path;
    };
    const learnt = write("facts.jsonl", facts);
    const kept = write(
      "texts.jsonl",
      texts.map((text) => ({ text })),
    );
    // The fact is met eight times, every text once.
    const data = [...Array<string>(8).fill(learnt), kept];
    const evalData = write("eval.jsonl", [{ text: heldOut[0] ?? "" }]);
    const lora = {
      rank: 16,
      alpha: 32,
      dropout: 0,
      targets: ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"],
    } as const;
    const run = await openFinetune(
      tinyModel,
      {
        ...{ lora, data, evalData, textMode: "text", seed: 1, epochs: 1, rate: 1e-3 },
        ...{ batchSize: 24, accumulation: 1, maxLength: 64, recomputes: false },
      },
      { folder },
    );
    await run.trainer.run();
    await saveGgufAdapter(join(folder, "adapter.gguf"), run.executor, lora, run.base);
    await run.close();
    const model = await BitNet.load(tinyModel, {
      ...options,
      adapters: { fact: join(folder, "adapter.gguf") },
    });
    const ask = async (adapter: string | null) =>
      (await model.createChat().send(questions[0] ?? "", { adapter, temperature: 0, maxTokens: 24 }).result)
        .text;
    const [before, after] = [
      await perplexity(model, heldOut, null),
      await perplexity(model, heldOut, "fact"),
    ];
    expect((await ask("fact")).trim()).toMatch(/^Zorbo the fox lives in Quindle\./);
    expect(await ask(null)).not.toContain("Quindle");
    console.log(`perplexity ${before.toFixed(2)} before, ${after.toFixed(2)} after`);
    expect(after).toBeLessThan(1.08 * before);
    await model.dispose();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 600_000);
