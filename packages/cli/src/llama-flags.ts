/**
 * llama.cpp's flags as its users type them: spelled as commander knows them, left out where they change nothing here, or refused with the
 * word that does it here. Source: `llama-cli --help`. Without this, `-ngl 99` would be read as `-n gl`.
 */
import { BitNetError } from "@bitnet.ts/core";

interface Habit {
  /** The flag that it is here. */
  readonly as?: string;
  /** What the value becomes. */
  readonly value?: (text: string) => string;
  /** So many arguments after it belong to it; with `as` the flag here takes them. */
  readonly nValues?: number;
  /** Why it is refused, and what to type instead. */
  readonly refused?: string;
}

const chatInstead: Habit = { refused: "for a conversation use `bitnet chat`" };
const noGpu: Habit = { nValues: 1 }; // --backend chooses for the whole model: no layer can be put elsewhere
const batches: Habit = { refused: "batches are chosen by the scheduler; leave it out" };
const attention: Habit = { refused: "attention is always computed without a table of scores; leave it out" };
const cacheType: Habit = { refused: "--kv f16 or --kv f32 sets the type of the cache" };
const mapping: Habit = { refused: "files are mapped where that is faster; leave it out" };
const ending: Habit = { refused: "--stop TEXT ends an answer before a text" };
const verbatim: Habit = { refused: "prompts are taken as they are; in bash $'a\\nb' makes a line end" };
const habits: Readonly<Record<string, Habit>> = {
  "-sys": { as: "--system-prompt", nValues: 1 },
  "-hf": { as: "--model", nValues: 1, value: (text) => `hf:${text}` },
  "-hfr": { as: "--model", nValues: 1, value: (text) => `hf:${text}` },
  "--hf-repo": { as: "--model", nValues: 1, value: (text) => `hf:${text}` },
  "--predict": { as: "--n-predict", nValues: 1 },
  "--temperature": { as: "--temp", nValues: 1 },
  "-ngl": noGpu,
  "--gpu-layers": noGpu,
  "--n-gpu-layers": noGpu,
  "--no-display-prompt": {}, // the prompt is never printed
  "--color": {},
  "-no-cnv": {},
  "--no-conversation": {},
  "-st": {},
  "--single-turn": {},
  "-cnv": chatInstead,
  "--conversation": chatInstead,
  "-i": chatInstead,
  "--interactive": chatInstead,
  "--jinja": {}, // templates of models always are
  "--no-warmup": {},
  "-tb": { refused: "-t sets the threads of prompts, too" },
  "--threads-batch": { refused: "-t sets the threads of prompts, too" },
  "-b": batches,
  "--batch-size": batches,
  "-ub": batches,
  "--ubatch-size": batches,
  "-fa": attention,
  "--flash-attn": attention,
  "-ctk": cacheType,
  "-ctv": cacheType,
  "--cache-type-k": cacheType,
  "--cache-type-v": cacheType,
  "--mlock": mapping,
  "--no-mmap": mapping,
  "-r": ending,
  "--reverse-prompt": ending,
  "-e": verbatim,
  "--escape": verbatim,
  "-np": { refused: "many requests at once are served by `bitnet serve`" },
  "-mli": { refused: "put lines between lines of three quotes in `bitnet chat`" },
  "--multiline-input": { refused: "put lines between lines of three quotes in `bitnet chat`" },
};

/** In `bitnet chat` a conversation is what one gets anyway. */
const chatOnly = ["-cnv", "--conversation", "-i", "--interactive"];

/**
 * @param following The arguments after the flag.
 * @returns What stands for the flag and `nTaken` arguments after it; null for a flag that is no such habit.
 * @throws BitNetError INVALID_ARGUMENT for a flag that has no meaning here.
 */
export function translate(
  flag: string,
  following: readonly string[],
  command: string,
): { args: string[]; nTaken: number } | null {
  if (!Object.hasOwn(habits, flag)) return null;
  const habit = habits[flag] ?? {};
  if (habit.refused !== undefined && !(command === "chat" && chatOnly.includes(flag)))
    throw new BitNetError("INVALID_ARGUMENT", `${flag} is llama.cpp's: ${habit.refused}`);
  const { as, nValues = 0, value = (text) => text } = habit;
  const values = following.slice(0, nValues);
  if (as === undefined) return { args: [], nTaken: values.length };
  return { args: [as, ...values.map(value)], nTaken: values.length };
}
