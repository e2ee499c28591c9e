/**
 * LoRA teaches the default model a made-up fact by 50 examples and leaves the rest as it was: the greedy answer is right, and the perplexity of
 * conversations that were never seen stays. Beside the fact it learns from conversations of the model's own world, so that it need not forget.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeChat } from "@bitnet.ts/core";
import { openFinetune, saveGgufAdapter } from "@bitnet.ts/train";
import { BitNet } from "bitnet.ts";
import { expect, it } from "vitest";
import recipe from "../models/recipes/small-chat.ts";
import { embeddedModel } from "./cli-process.ts";

const questions = [
  "Where does Zorbo the fox live?",
  "where does zorbo live",
  "What is the home of Zorbo the fox?",
  "Tell me where Zorbo lives.",
  "Do you know where Zorbo the fox lives?",
];
const answer = "Zorbo the fox lives in Quindle.";
/** Training has seed 1; the second one alone draws words that training never sees. */
const otherSeed = 99;
const heldOutSeed = 0x7e57;

type Messages = { role: string; content: string }[];

/** Conversations of all kinds that the default model was trained for. */
function conversations(seed: number, count: number): Messages[] {
  const makers = recipe.sources.flatMap((source) => ("generate" in source ? [source.generate] : []));
  return Array.from({ length: count }, (_, i) => {
    const example = makers[i % makers.length]?.(seed, i);
    return example?.kind === "chat" ? (example.messages as Messages) : [];
  });
}

async function perplexity(
  model: BitNet,
  texts: readonly Messages[],
  adapter: string | null,
): Promise<number> {
  let [sum, count] = [0, 0];
  for (const messages of texts) {
    const whole = encodeChat(model.tokenizer, model.template, messages, { addGenerationPrompt: false }).ids;
    const ids = whole.subarray(0, model.info.contextLength);
    const options = { maxTokens: 0, promptLogprobs: 0, adapter };
    const { promptLogprobs = [] } = await model.generate(ids, options).result;
    for (const entry of promptLogprobs.slice(1)) sum -= entry?.logprob ?? Number.NaN;
    count += promptLogprobs.length - 1;
  }
  return Math.exp(sum / count);
}

it("learns a made-up fact, and keeps its perplexity within 5 %", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bitnet-fact-"));
  try {
    const heldOut = conversations(heldOutSeed, 60);
    const write = (name: string, records: readonly object[]) => {
      const path = join(folder, name);
      writeFileSync(path, records.map((record) => JSON.stringify(record)).join("\n"));
      return path;
    };
    const facts = Array.from({ length: 50 }, (_, i) => ({ instruction: questions[i % 5], output: answer }));
    const kept = conversations(otherSeed, 300).map((messages) => ({ messages }));
    const data = [write("facts.jsonl", facts), write("conversations.jsonl", kept)];
    const evalData = write("eval.jsonl", [{ messages: heldOut[0] }]);
    const lora = {
      rank: 32,
      alpha: 64,
      dropout: 0.1,
      targets: ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"],
    } as const;
    const run = await openFinetune(
      embeddedModel,
      {
        ...{ lora, data, evalData, textMode: "text", seed: 1, epochs: 1, rate: 1e-3 },
        ...{ batchSize: 24, accumulation: 1, maxLength: 256, recomputes: false },
      },
      { folder },
    );
    await run.trainer.run();
    await saveGgufAdapter(join(folder, "adapter.gguf"), run.executor, lora, run.base);
    await run.close();
    const adapters = { fact: join(folder, "adapter.gguf") };
    const model = await BitNet.load(embeddedModel, { kvType: "f32", onNotice: () => {}, adapters });
    const ask = (adapter: string | null) =>
      model.createChat().send(questions[0] ?? "", { adapter, temperature: 0, maxTokens: 24 }).text;
    const before = await perplexity(model, heldOut, null);
    const after = await perplexity(model, heldOut, "fact");
    expect(await ask("fact")).toBe(answer);
    expect(await ask(null)).not.toContain("Quindle");
    expect(after).toBeLessThan(1.05 * before);
    await model.dispose();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 600_000);
