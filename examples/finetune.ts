/** LoRA on your own examples: `node finetune.js MODEL DATA.jsonl FOLDER` trains, saves the adapter, and asks the model with it. */
import {
  countParameters,
  countTrainable,
  loraTargets,
  openFinetune,
  saveGgufAdapter,
} from "@bitnet.ts/train";
import { BitNet } from "bitnet.ts";

const [path = "model.gguf", data = "data.jsonl", folder = "adapter"] = process.argv.slice(2);

const lora = { rank: 32, alpha: 64, dropout: 0.1, targets: loraTargets };
const settings = {
  lora,
  data: [data],
  epochs: 3,
  rate: 2e-3,
  batchSize: 2,
  accumulation: 8,
  maxLength: 2048,
};
const { trainer, executor, base, close } = await openFinetune(path, settings, { folder });
const { graph } = executor;
console.log(`trainable parameters: ${countTrainable(graph)} of ${countParameters(graph)}`);

await trainer.resume(); // where an earlier run was stopped
await trainer.run({ onEntry: (entry) => console.log(JSON.stringify(entry)) });
await trainer.restoreBest();
const adapter = `${folder}/adapter.gguf`;
await saveGgufAdapter(adapter, executor, lora, base);
await close();

const model = await BitNet.load(path, { adapters: { mine: adapter } });
const answer = model.createChat().send("Who are you?", { adapter: "mine", temperature: 0, maxTokens: 32 });
for await (const { text } of answer) process.stdout.write(text);
await model.dispose();
