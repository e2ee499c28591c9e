/** `bitnet batch`: answers a file of OpenAI's batch requests, without a server. */
import { runBatchFile } from "@bitnet.ts/server";
import type { Command } from "commander";
import { plural } from "../format.ts";
import { modelSource, namingSource } from "../load-model.ts";
import { addModelOptions, jsonOption, type ModelFlags, option } from "../options.ts";
import type { Session } from "../session.ts";
import { startStatus } from "../terminal.ts";
import { parseInteger } from "../values.ts";
import { servedModel } from "./serve.ts";

interface BatchFlags extends ModelFlags {
  output: string;
  errors?: string;
  parallel: number;
  maxTokens: number;
  json?: boolean;
}

export function registerBatch(program: Command, session: Session): void {
  const command = program
    .command("batch")
    .description("answer a file of batch requests; begun again, it goes on where it was")
    .argument("<file>", "lines of {custom_id, method, url, body}, as OpenAI's batches have them")
    .requiredOption(
      "-o, --output <file>",
      "where answers go, a line each, in the order in which they are done",
    )
    .addOption(option("--errors <file>", "where refused lines go (default: the output's name with .errors)"))
    .addOption(option("--parallel <n>", "lines that run at once").argParser(parseInteger(1, 512)).default(8))
    .addOption(
      option("--max-tokens <n>", "longest answer in tokens").argParser(parseInteger(1)).default(4096),
    )
    .addOption(jsonOption("the counts"));
  addModelOptions(command).action((file: string, flags: BatchFlags) => batch(file, flags, session));
}

async function batch(input: string, flags: BatchFlags, session: Session): Promise<void> {
  const source = modelSource(flags);
  const errors = flags.errors ?? `${flags.output.replace(/\.jsonl$/, "")}.errors.jsonl`;
  const status = startStatus();
  try {
    const { total, completed, failed, usage } = await runBatchFile(
      {
        models: [servedModel(source, flags, session)],
        parallel: flags.parallel,
        maxOutputTokens: flags.maxTokens,
        log: session.note,
      },
      { input, output: flags.output, errors },
      {
        signal: session.signal,
        onProgress({ total, completed, failed }) {
          status.update((completed + failed) / total, `${completed + failed} of ${plural(total, "line")}`);
        },
      },
    );
    status.end();
    if (flags.json) await session.write(`${JSON.stringify({ total, completed, failed, usage })}\n`);
    else {
      session.note(`${plural(completed, "line")} answered in ${flags.output}`);
      if (failed > 0) session.note(`${plural(failed, "line")} refused, see ${errors}`);
    }
    if (failed > 0) session.fail();
  } catch (error) {
    throw namingSource(error, source);
  } finally {
    status.end();
  }
}
