/**
 * Measures a model of the small-chat recipe on held-out questions: `node build/models/recipes/measure-small-chat.js model.gguf [questions]`.
 * Prints the share of right answers per kind beside the bar, and the first wrong ones.
 */
import { encodeChat } from "@bitnet.ts/core";
import { BitNet } from "bitnet.ts";
import { bars, type ProbeKind, probe } from "./small-chat/probes.ts";

const [path, count = "200"] = process.argv.slice(2);
if (path === undefined) throw new Error("give the path of a model");
const model = await BitNet.load(path);
for (const kind of Object.keys(bars) as ProbeKind[]) {
  const failures: string[] = [];
  for (let i = 0; i < Number(count); i++) {
    const { messages, check } = probe(kind, i);
    const { ids } = encodeChat(model.tokenizer, model.template, messages, { addGenerationPrompt: true });
    const sampling =
      kind === "stories" ? { temperature: 0.7, seed: i } : { temperature: 0, repeatPenalty: 1 };
    const { text } = await model.generate(ids, { ...sampling, maxTokens: 200 }).result;
    const problems = check(text.trim());
    if (problems.length > 0) failures.push(JSON.stringify([messages.at(-1)?.content, text.trim(), problems]));
  }
  const share = 1 - failures.length / Number(count);
  console.log(`${kind}: ${(100 * share).toFixed(1)} % (bar ${100 * bars[kind]} %)`);
  for (const failure of failures.slice(0, 5)) console.log(`  ${failure}`);
}
await model.dispose();
