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

/** What a newcomer looks for, and the commands that do it. */
const commandGroups: readonly [title: string, names: readonly string[]][] = [
  ["Ask a model:", ["run", "chat", "embed", "tokenize", "batch"]],
  ["Get a model, and look at it:", ["models", "pull", "ls", "rm", "inspect", "convert"]],
  ["Serve:", ["serve", "web", "keys", "top"]],
  ["Train and judge:", ["train", "finetune", "merge", "eval", "perplexity"]],
  ["This machine:", ["doctor", "build-native", "bench", "dummy", "completion"]],
];

const examples: Readonly<Record<string, readonly string[]>> = {
  "": ["bitnet chat", 'bitnet run model.gguf "Once upon a time" -n 64', "bitnet run --json -p Hello -s 1"],
  run: [
    'bitnet run model.gguf "Once upon a time" -n 64 --temp 0',
    'bitnet run -m tiny -sys "Be brief." -p "What is peace?"',
    "cat letter.txt | bitnet run model.gguf -n -1",
  ],
  chat: ["bitnet chat model.gguf", 'bitnet chat -m tiny -sys "Answer in one sentence." --no-history'],
  inspect: ["bitnet inspect model.gguf", "bitnet inspect -m tiny --weights --json"],
  tokenize: ['bitnet tokenize "Hello, world"', 'bitnet tokenize --decode "128000 9906"'],
  convert: [
    "bitnet convert model/ -o model.gguf --to i2_s --verify",
    "bitnet convert model.gguf -o model/ --to hf-packed",
  ],
  perplexity: [
    "bitnet perplexity -m model.gguf -f wiki.test.raw",
    "bitnet perplexity -f text.txt -c 2048 --stride 512",
  ],
  pull: ["bitnet pull 2b-4t", "bitnet pull microsoft/bitnet-b1.58-2B-4T-gguf --dir models"],
  ls: ["bitnet ls"],
  rm: ["bitnet rm 2b-4t"],
  models: ["bitnet models"],
  doctor: ["bitnet doctor", "bitnet doctor -m model.gguf --profile edge", "bitnet doctor --engines"],
  "build-native": ["bitnet build-native"],
  bench: ["bitnet bench -m model.gguf", "bitnet bench -m model.gguf --scenario edge"],
  dummy: ["bitnet dummy --shape 2b-4t -o dummy.gguf"],
  batch: ["bitnet batch requests.jsonl -o answers.jsonl"],
  top: ["bitnet top", "bitnet top --url http://10.0.0.5:8080 --once"],
  keys: ["bitnet keys create somebody --requests-per-minute 60", "bitnet keys list"],
  web: ["bitnet web -m model.gguf", "bitnet web --out page"],
  serve: [
    "bitnet serve -m model.gguf",
    "bitnet serve -m model.gguf --host 0.0.0.0 --keys keys.json --data data",
    "bitnet serve -m tiny --ollama",
  ],
  eval: ["bitnet eval -m model.gguf --task arc_easy --limit 100", "bitnet eval --task own.jsonl -o results"],
  train: ["bitnet train recipe.json -o runs/mine", "bitnet train recipe.json -o runs/try --share 0.01"],
  finetune: [
    "bitnet finetune tiny --data facts.jsonl -o runs/facts --epochs 10 --rate 1e-3",
    "bitnet run tiny --adapter runs/facts/adapter.gguf -sys '' -p 'Where does Zorbo live?'",
  ],
  merge: ["bitnet merge model.gguf runs/facts/adapter.gguf --data facts.jsonl -o merged --accept-loss"],
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
    const place = commandGroups.find(([, names]) => names.includes(command.name()));
    if (place !== undefined) command.helpGroup(place[0]);
    for (const option of command.options) {
      const group = groups.find(([, flags]) => flags.includes(option.long ?? ""));
      if (group !== undefined) option.helpGroup(group[0]);
      if (option.mandatory) option.description += " (required)";
    }
  }
}
