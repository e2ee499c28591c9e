/** `bitnet embed`: embeddings of texts, as JSONL or as a NumPy matrix. */
import { BitNetError } from "@bitnet.ts/core";
import type { BitNet, EmbeddingResult, EmbedOptions, Pooling, Quantization } from "bitnet.ts";
import type { Command } from "commander";
import { type NamedText, readTexts } from "../embed-input.ts";
import { formatRate, plural } from "../format.ts";
import { loadModel } from "../load-model.ts";
import { npyHeader } from "../npy.ts";
import { addModelOptions, jsonOption, type ModelFlags, option } from "../options.ts";
import type { Session } from "../session.ts";
import { startStatus } from "../terminal.ts";
import { parseInteger } from "../values.ts";
import { writeConversion } from "../write-whole.ts";

interface EmbedFlags extends ModelFlags {
  file?: string;
  jsonl?: true | string;
  output?: string;
  pooling?: Pooling;
  normalize: boolean;
  dimensions?: number;
  quantize: Quantization;
  instruction?: string;
  promptName?: string;
  truncate?: boolean;
  json?: boolean;
}

/** Texts of one call: enough to fill steps, few enough to report on. */
const lot = 256;
const usualField = "text";

export function registerEmbed(program: Command, session: Session): void {
  const command = program
    .command("embed")
    .description("embed texts, one a line, as JSONL or as a NumPy matrix")
    .argument("[texts...]", "the texts (default: -f, else standard input)")
    .addOption(option("-f, --file <path>", "read the texts from a file"))
    .addOption(
      option(
        "--jsonl [field]",
        `lines are JSON: texts, or objects with a text in this member (default: ${usualField}) and perhaps an id`,
      ),
    )
    .addOption(
      option("-o, --output <path>", "write to a file; one that ends in .npy becomes a NumPy matrix").env(
        "BITNET_EMBED_OUTPUT",
      ),
    )
    .addOption(
      option(
        "--pooling <how>",
        "which states make the embedding (default: as the model's files say)",
      ).choices(["mean", "last", "cls"]),
    )
    .addOption(option("--no-normalize", "leave embeddings as long as they are", "NO_NORMALIZE"))
    .addOption(option("--dimensions <n>", "keep so many first dimensions").argParser(parseInteger(1)))
    .addOption(
      option("--quantize <how>", "fewer bits: int8, or one for each sign")
        .choices(["none", "int8", "binary"])
        .default("none"),
    )
    .addOption(option("--instruction <text>", "what is to be done with the texts, for instructed embedders"))
    .addOption(option("--prompt-name <name>", 'one of the model\'s own prompts, such as "query"'))
    .addOption(option("--truncate", "cut texts that are longer than the context"))
    .addOption(jsonOption("all embeddings"));
  addModelOptions(command).action((texts: string[], flags: EmbedFlags) => embed(texts, flags, session));
}

async function embed(texts: readonly string[], flags: EmbedFlags, session: Session): Promise<void> {
  const { file, output } = flags;
  if (texts.length > 0 && file !== undefined)
    throw new BitNetError("INVALID_ARGUMENT", "give texts as arguments or in a file, not both");
  if (texts.length === 0 && file === undefined && process.stdin.isTTY)
    throw new BitNetError("INVALID_ARGUMENT", "no texts: give them as arguments or with -f, or pipe them in");
  if (flags.json && output !== undefined)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      "--json prints to standard output; leave out -o, or leave it out",
    );
  const field = flags.jsonl === undefined ? null : flags.jsonl === true ? usualField : flags.jsonl;
  const named =
    texts.length > 0 ? texts.map((text) => ({ text })) : readTexts(file ?? null, field, session.signal);
  const model = await loadModel(flags, session);
  const run = new EmbedRun(model, flags, session);
  try {
    if (flags.json) await run.printWhole(named);
    else if (output === undefined) for await (const line of run.lines(named)) await session.write(line);
    else await run.writeFile(output, named);
    if (!flags.json) session.note(run.summary());
  } finally {
    run.end();
    await model.dispose();
  }
}

type Texts = AsyncIterable<NamedText> | Iterable<NamedText>;
type Lot = EmbeddingResult<Quantization> & { texts: readonly NamedText[] };

/** Embeds lot by lot, and keeps count. */
class EmbedRun {
  private readonly model: BitNet;
  private readonly options: EmbedOptions;
  private readonly session: Session;
  private readonly status = startStatus();
  private nTexts = 0;
  private nTokens = 0;
  private busyMs = 0;
  private last: Lot | null = null;

  constructor(model: BitNet, flags: EmbedFlags, session: Session) {
    this.model = model;
    this.session = session;
    const { pooling, dimensions, instruction, promptName, truncate, quantize } = flags;
    this.options = {
      quantize,
      signal: session.signal,
      ...(flags.normalize ? {} : { normalize: false }),
      ...(pooling === undefined ? {} : { pooling }),
      ...(dimensions === undefined ? {} : { dimensions }),
      ...(instruction === undefined ? {} : { instruction }),
      ...(promptName === undefined ? {} : { prompt: promptName }),
      ...(truncate ? { truncate: true } : {}),
    };
  }

  async *lots(texts: Texts, total: number | null = null): AsyncGenerator<Lot, void> {
    let waiting: NamedText[] = [];
    for await (const text of texts) {
      waiting.push(text);
      if (waiting.length < lot) continue;
      yield await this.embed(waiting, total);
      waiting = [];
    }
    // Without any text the options are checked all the same.
    if (waiting.length > 0 || this.last === null) yield await this.embed(waiting, total);
  }

  async *lines(texts: Texts): AsyncGenerator<string, void> {
    for await (const { texts: named, embeddings, scales } of this.lots(texts)) {
      const first = this.nTexts - named.length;
      const lines = embeddings.map((embedding, i) => {
        const id = named[i]?.id;
        const scale = scales?.[i];
        return `${JSON.stringify({
          index: first + i,
          ...(id === undefined ? {} : { id }),
          ...(scale === undefined ? {} : { scale }),
          embedding: Array.from(embedding),
        })}\n`;
      });
      yield lines.join("");
    }
  }

  async printWhole(texts: Texts): Promise<void> {
    const embeddings: number[][] = [];
    const scales: number[] = [];
    for await (const found of this.lots(texts)) {
      for (const vector of found.embeddings) embeddings.push(Array.from(vector));
      for (const scale of found.scales ?? []) scales.push(scale);
    }
    const { source } = this.model.info;
    const { dimensions, pooling } = this.last ?? {};
    const shown = { source, dimensions, pooling, promptTokens: this.nTokens };
    await this.session.write(
      `${JSON.stringify({ ...shown, ...(scales.length > 0 ? { scales } : {}), embeddings })}\n`,
    );
  }

  /** The file appears under its name when it is whole. */
  async writeFile(output: string, texts: Texts): Promise<void> {
    const pieces = /\.npy$/i.test(output) ? this.matrix(texts) : this.bytesOfLines(texts);
    await writeConversion(
      output,
      { kind: "file", files: [{ name: null, pieces }] },
      { signal: this.session.signal },
    );
  }

  summary(): string {
    const { dimensions = 0, pooling } = this.last ?? {};
    const rate = this.busyMs > 0 ? ` at ${formatRate((this.nTokens * 1000) / this.busyMs)}` : "";
    return `${plural(this.nTexts, "text")}, ${plural(this.nTokens, "token")}${rate}; ${plural(dimensions, "dimension")}, pooling ${pooling}`;
  }

  end(): void {
    this.status.end();
  }

  private async *bytesOfLines(texts: Texts): AsyncGenerator<Uint8Array, void> {
    for await (const line of this.lines(texts)) yield Buffer.from(line);
  }

  /** The header says how many there are, so that all texts have to be read first. */
  private async *matrix(texts: Texts): AsyncGenerator<Uint8Array, void> {
    const all: NamedText[] = [];
    for await (const text of texts) all.push(text);
    let isFirst = true;
    for await (const { embeddings, dimensions } of this.lots(all, all.length)) {
      const [sample] = embeddings;
      const dtype = sample instanceof Int8Array ? "int8" : sample instanceof Uint8Array ? "uint8" : "f32";
      if (isFirst) yield npyHeader(dtype, all.length, sample?.length ?? dimensions);
      isFirst = false;
      for (const { buffer, byteOffset, byteLength } of embeddings)
        yield new Uint8Array(buffer, byteOffset, byteLength);
    }
  }

  private async embed(texts: readonly NamedText[], total: number | null): Promise<Lot> {
    const start = performance.now();
    const result = await this.model
      .embed(
        texts.map(({ text }) => text),
        this.options,
      )
      .catch((error: unknown) => {
        throw this.placed(error);
      });
    this.busyMs += performance.now() - start;
    this.nTexts += texts.length;
    this.nTokens += result.promptTokens;
    const done = total === null ? 0 : this.nTexts / total;
    this.status.update(done, `${plural(this.nTexts, "text")}, ${plural(this.nTokens, "token")}`);
    this.last = { ...result, texts };
    return this.last;
  }

  /** Texts are counted from the first of all, not of the lot. */
  private placed(error: unknown): unknown {
    if (!(error instanceof BitNetError) || typeof error.details.index !== "number") return error;
    const index = error.details.index + this.nTexts;
    const message = error.message.replace(/text \d+/, `text ${index}`);
    return new BitNetError(error.code, message, { cause: error, details: { ...error.details, index } });
  }
}
