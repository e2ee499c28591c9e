/**
 * Trains the two-million.ts model in full precision, ternary and binary with the same text, budget and seed, and prints the losses on held-out
 * text beside each other: `node build/models/recipes/compare-forms.js FOLDER [--text FOLDER] [--tokens N] [--threads N] [--backward bf16]`.
 * With `--text` also on the files that lie there. A run that was stopped goes on where its checkpoints are.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    text: { type: "string" },
    tokens: { type: "string" },
    threads: { type: "string" },
    backward: { type: "string" },
    /** Another learning rate for full precision, whose best is lower. */
    "float-rate": { type: "string" },
  },
});
const [folder] = positionals;
if (folder === undefined) throw new Error("give the folder that gets the runs");

const bitnet = join(import.meta.dirname, "..", "..", "..", "packages", "cli", "bin", "bitnet.js");
const recipe = join(import.meta.dirname, "two-million.js");
const forms = ["float", "b1.58", "b1"] as const;

interface Trained {
  tokens: number;
  /** By source. */
  losses: Record<string, number>;
}

/** One run by the command that everybody uses. */
function train(name: string, form: (typeof forms)[number], text: string | undefined): Trained {
  const rate = form === "float" ? values["float-rate"] : undefined;
  const flags = { tokens: values.tokens, threads: values.threads, backward: values.backward, rate };
  const args = Object.entries(flags).flatMap(([flag, value]) =>
    value === undefined ? [] : [`--${flag}`, value],
  );
  const { status, stdout } = spawnSync(
    process.execPath,
    [
      bitnet,
      "train",
      recipe,
      "-o",
      join(folder ?? "", name),
      "--form",
      form,
      "--embedding",
      "f32",
      "--json",
      ...args,
    ],
    {
      stdio: ["ignore", "pipe", "inherit"],
      encoding: "utf8",
      env: { ...process.env, BITNET_TEXT: text ?? "" },
    },
  );
  if (status !== 0) throw new Error(`bitnet train ended with status ${status}`);
  return JSON.parse(stdout) as Trained;
}

const texts = [
  { kind: "generated", text: undefined },
  ...(values.text === undefined ? [] : [{ kind: "files", text: values.text }]),
];
for (const { kind, text } of texts) {
  const runs = forms.map((form) => ({ form, ...train(`${kind}-${form}`, form, text) }));
  console.log(`\n| ${kind} | tokens | ${Object.keys(runs[0]?.losses ?? {}).join(" | ")} |`);
  console.log(`|---|${"---|".repeat(1 + Object.keys(runs[0]?.losses ?? {}).length)}`);
  for (const { form, tokens, losses } of runs)
    console.log(
      `| ${form} | ${tokens} | ${Object.values(losses)
        .map((loss) => loss.toFixed(4))
        .join(" | ")} |`,
    );
}
