/** What --help shows beyond the flags themselves: groups of them, and examples. */
import type { Command } from "commander";

const groups: readonly [title: string, flags: readonly string[]][] = [
  ["Model:", ["--model", "--ctx-size", "--kv", "--i2s-layout", "--screening", "--activations", "--adapter"]],
  ["Machine:", ["--threads", "--backend", "--isa"]],
  [
    "Sampling:",
    [
      ...["--temp", "--top-k", "--top-p", "--min-p", "--typical", "--seed", "--logit-bias"],
      ...["--repeat-penalty", "--repeat-last-n", "--frequency-penalty", "--presence-penalty"],
      ...["--dry-multiplier", "--dry-base", "--dry-allowed-length", "--dry-penalty-last-n"],
      ...["--dry-sequence-breaker", "--xtc-probability", "--xtc-threshold"],
    ],
  ],
  ["Where it ends:", ["--n-predict", "--stop", "--ignore-eos", "--timeout"]],
  ["Output:", ["--json", "--logprobs", "--prompt-logprobs", "--raw"]],
];

const examples: Readonly<Record<string, readonly string[]>> = {
  "": ["bitnet chat", 'bitnet run model.gguf "Once upon a time" -n 64', "bitnet run --json -p Hello -s 1"],
  run: [
    'bitnet run model.gguf "Once upon a time" -n 64 --temp 0',
    'bitnet run -m tiny -sys "Be brief." -p "What is peace?"',
    "cat letter.txt | bitnet run model.gguf -n -1",
  ],
  chat: ["bitnet chat model.gguf", 'bitnet chat -m tiny -sys "Answer in one sentence." --no-history'],
  inspect: ["bitnet inspect -m model.gguf --tensors"],
  tokenize: ['bitnet tokenize "Hello, world"', 'bitnet tokenize --decode "128000 9906"'],
  batch: ["bitnet batch requests.jsonl -o answers.jsonl"],
  top: ["bitnet top", "bitnet top --url http://10.0.0.5:8080 --once"],
  finetune: [
    "bitnet finetune tiny --data facts.jsonl -o runs/facts --epochs 10 --rate 1e-3",
    "bitnet run tiny --adapter runs/facts/adapter.gguf -p 'Where does Zorbo live?'",
  ],
  embed: [
    'bitnet embed -m model.gguf "a cat" "a dog"',
    "bitnet embed -m model.gguf -f texts.txt -o embeddings.npy",
    "bitnet embed -m model.gguf --jsonl body --dimensions 256 < documents.jsonl > embeddings.jsonl",
  ],
  completion: [
    'eval "$(bitnet completion bash)"',
    "bitnet completion fish > ~/.config/fish/completions/bitnet.fish",
  ],
};

const origin =
  "\nWhere it is not installed, write npx bitnet.ts …: the package called bitnet on npm belongs to somebody else.";

export function addExamples(program: Command): void {
  for (const command of [program, ...program.commands]) {
    const lines = examples[command === program ? "" : command.name()] ?? [];
    if (lines.length > 0)
      command.addHelpText("after", `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}`);
    if (command === program) command.addHelpText("after", origin);
    for (const option of command.options) {
      const group = groups.find(([, flags]) => flags.includes(option.long ?? ""));
      if (group !== undefined) option.helpGroup(group[0]);
    }
  }
}
