/** `bitnet perplexity`: how well a model predicts a text, in llama.cpp's way of counting or, with --stride, in Hugging Face's. */
import { BitNetError } from "@bitnet.ts/core";
import type { Counting, Perplexity, Window } from "@bitnet.ts/eval";
import type { BitNet } from "bitnet.ts";
import type { Command } from "commander";
import { formatCount, plural } from "../format.ts";
import { loadModel } from "../load-model.ts";
import { addModelOptions, jsonOption, type ModelFlags, option } from "../options.ts";
import { readTextFile } from "../read-input.ts";
import type { Session } from "../session.ts";
import { startStatus } from "../terminal.ts";
import { parseInteger } from "../values.ts";

interface PerplexityFlags extends ModelFlags {
  file: string;
  stride?: number;
  json?: boolean;
}

/** llama.cpp's usual context. */
const usualContext = 512;

export function registerPerplexity(program: Command, session: Session): void {
  const command = program
    .command("perplexity")
    .description("how well a model predicts a text")
    .addOption(option("-f, --file <path>", "the text").makeOptionMandatory())
    .addOption(
      option(
        "--stride <tokens>",
        "count as Hugging Face does: windows of -c tokens that advance by this many, every token once (default: as llama.cpp)",
      ).argParser(parseInteger(1)),
    )
    .addOption(jsonOption("the result"));
  addModelOptions(command, { kv: "f32" }).action((flags: PerplexityFlags) => run(flags, session));
}

async function run(flags: PerplexityFlags, session: Session): Promise<void> {
  const text = await readTextFile(flags.file, session.signal);
  // Only this command pays for loading it.
  const library = await import("@bitnet.ts/eval");
  const counting: Counting = flags.stride === undefined ? "llama.cpp" : "huggingface";
  const contextLength = flags.ctxSize ?? usualContext;
  if (contextLength < 2)
    throw new BitNetError("INVALID_ARGUMENT", "-c: a context of at least 2 tokens is needed");
  const model = await loadModel({ ...flags, ctxSize: contextLength }, session);
  try {
    const { tokenizer } = model;
    const ids = tokenizer.encode(text, { bos: tokenizer.addBos });
    const bosId = tokenizer.addBos ? tokenizer.bosId : null;
    const windows = library.windowsOf(ids, {
      counting,
      contextLength,
      stride: flags.stride ?? contextLength,
      bosId,
    });
    const result = await score(model, windows, library.perplexityOf, session);
    await report(
      result,
      { counting, contextLength, flags, nWindows: windows.length, textTokens: ids.length },
      session,
    );
  } finally {
    await model.dispose();
  }
}

async function score(
  model: BitNet,
  windows: readonly Window[],
  perplexityOf: (sums: { sum: number; squares: number; nTokens: number }) => Perplexity,
  session: Session,
): Promise<Perplexity> {
  const sums = { sum: 0, squares: 0, nTokens: 0 };
  const status = startStatus();
  try {
    let done = 0;
    for (const { ids, from } of windows) {
      const generation = model.generate(ids, { maxTokens: 0, promptLogprobs: 0, signal: session.signal });
      const { promptLogprobs = [] } = await generation.result;
      for (const entry of promptLogprobs.slice(from)) {
        if (entry === null)
          throw new BitNetError("INTERNAL", "perplexity: a token without a log-probability");
        sums.sum -= entry.logprob;
        sums.squares += entry.logprob ** 2;
        sums.nTokens++;
      }
      done++;
      const { perplexity, standardError } = perplexityOf(sums);
      status.update(
        done / windows.length,
        `${done} of ${plural(windows.length, "window")}: ${perplexity.toFixed(4)} ± ${standardError.toFixed(4)}`,
      );
    }
  } finally {
    status.end();
  }
  return perplexityOf(sums);
}

interface Setting {
  counting: Counting;
  contextLength: number;
  flags: PerplexityFlags;
  nWindows: number;
  textTokens: number;
}

async function report(result: Perplexity, setting: Setting, session: Session): Promise<void> {
  const { counting, contextLength, flags, nWindows, textTokens } = setting;
  if (flags.json) {
    const { stride = null, kv } = flags;
    return session.write(
      `${JSON.stringify({ ...result, counting, contextLength, stride, kv, nWindows, textTokens })}\n`,
    );
  }
  const how =
    counting === "llama.cpp"
      ? `as llama.cpp counts: second halves of ${plural(nWindows, "chunk")} of ${contextLength} tokens`
      : `as Hugging Face counts: ${plural(nWindows, "window")} of ${contextLength} tokens, stride ${flags.stride}`;
  await session.write(
    `Perplexity ${result.perplexity.toFixed(4)} ± ${result.standardError.toFixed(4)}\n` +
      `${formatCount(result.nTokens)} of ${formatCount(textTokens)} tokens scored, ${how}; ${flags.kv} cache\n`,
  );
}
