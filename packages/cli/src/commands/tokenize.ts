/** `bitnet tokenize`: text to token ids and back. Reads the tokenizer only, not the weights. */
import { BitNetError, describeModel, openModelFiles, readTokenizer, type Tokenizer } from "@bitnet.ts/core";
import type { Command } from "commander";
import { formatTable, printable } from "../format.ts";
import { modelSource, namingSource } from "../load-model.ts";
import { openRoot } from "../open-root.ts";
import { jsonOption, modelOption, option } from "../options.ts";
import { readStandardInput } from "../read-input.ts";
import type { Session } from "../session.ts";

interface TokenizeFlags {
  model?: string;
  prompt?: string;
  special?: boolean;
  bos?: boolean;
  decode?: boolean;
  json?: boolean;
}

export function registerTokenize(program: Command, session: Session): void {
  program
    .command("tokenize")
    .description("show the tokens of a text, or with --decode the text of token ids")
    .argument("[text]", "the text (default: -p, else standard input)")
    .addOption(modelOption())
    .addOption(option("-p, --prompt <text>", "the text"))
    .addOption(option("--special", "recognise control tokens written out in the text"))
    .addOption(option("--bos", "put the beginning-of-text token first"))
    .addOption(option("--decode", "the text holds token ids, separated by spaces or commas"))
    .addOption(jsonOption("ids and pieces (with --decode also the text)"))
    .action((text: string | undefined, flags: TokenizeFlags) => tokenize(text, flags, session));
}

async function tokenize(argument: string | undefined, flags: TokenizeFlags, session: Session): Promise<void> {
  const text = argument ?? flags.prompt ?? (await readPiped(session));
  const tokenizer = await openTokenizer(modelSource(flags), session);
  const ids = flags.decode
    ? parseIds(text)
    : tokenizer.encode(text, { special: flags.special === true, bos: flags.bos === true });
  const pieces = Array.from(ids, (id) => tokenizer.decode([id]));
  if (flags.json) {
    const decoded = flags.decode ? { text: tokenizer.decode(ids) } : {};
    await session.write(`${JSON.stringify({ ids: Array.from(ids), pieces, ...decoded })}\n`);
  } else if (flags.decode) {
    await session.write(`${tokenizer.decode(ids)}\n`);
  } else if (ids.length > 0) {
    const rows = pieces.map((piece, i) => [String(ids[i]).padStart(7), `"${printable(piece)}"`]);
    await session.write(`${formatTable(rows)}\n`);
  }
}

async function readPiped(session: Session): Promise<string> {
  if (process.stdin.isTTY)
    throw new BitNetError("INVALID_ARGUMENT", "no text: give it as an argument or with -p, or pipe it in");
  return readStandardInput(session.signal);
}

async function openTokenizer(source: string, session: Session): Promise<Tokenizer> {
  try {
    const files = await openModelFiles(await openRoot(source, session));
    try {
      return readTokenizer(files, describeModel(files, source).config);
    } finally {
      await files.close();
    }
  } catch (error) {
    throw namingSource(error, source);
  }
}

function parseIds(text: string): Int32Array {
  const words = text.split(/[\s,[\]]+/).filter((word) => word !== "");
  return Int32Array.from(words, (word) => {
    if (/^\d{1,9}$/.test(word)) return Number(word);
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `expected token ids, found ${JSON.stringify(word.slice(0, 40))}`,
    );
  });
}
