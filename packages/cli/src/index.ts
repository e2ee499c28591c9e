/** The `bitnet` command: arguments to commands, errors to one line and an exit status. */
import { BitNetError } from "@bitnet.ts/core";
import { Command, CommanderError } from "commander";
import { cleanEnvironment, rewriteArguments, saysYes } from "./arguments.ts";
import { registerBatch } from "./commands/batch.ts";
import { registerBench } from "./commands/bench.ts";
import { registerBuildNative } from "./commands/build-native.ts";
import { registerChat } from "./commands/chat.ts";
import { registerCompletion } from "./commands/completion.ts";
import { registerConvert } from "./commands/convert.ts";
import { registerDoctor } from "./commands/doctor.ts";
import { registerDummy } from "./commands/dummy.ts";
import { registerEmbed } from "./commands/embed.ts";
import { registerEval } from "./commands/eval.ts";
import { registerFinetune } from "./commands/finetune.ts";
import { registerInspect } from "./commands/inspect.ts";
import { registerKeys } from "./commands/keys.ts";
import { registerLs } from "./commands/ls.ts";
import { registerMerge } from "./commands/merge.ts";
import { registerModels } from "./commands/models.ts";
import { registerPerplexity } from "./commands/perplexity.ts";
import { registerPull } from "./commands/pull.ts";
import { registerRm } from "./commands/rm.ts";
import { registerRun } from "./commands/run.ts";
import { registerServe } from "./commands/serve.ts";
import { registerTokenize } from "./commands/tokenize.ts";
import { registerTop } from "./commands/top.ts";
import { registerTrain } from "./commands/train.ts";
import { registerWeb } from "./commands/web.ts";
import { addExamples } from "./help.ts";
import { option } from "./options.ts";
import { packageVersion } from "./package-version.ts";
import { openSession, type Session } from "./session.ts";

/** Runs one command. Sets `process.exitCode` and returns; only a second interrupt ends the process at once. */
export async function main(argv: readonly string[]): Promise<void> {
  const session = openSession();
  const onCrash = (error: unknown) => {
    void report(error, session, argv);
    process.exit(1);
  };
  process.on("uncaughtException", onCrash);
  try {
    const program = createProgram(session);
    await program.parseAsync(rewriteArguments(argv, program), { from: "user" });
  } catch (error) {
    await report(error, session, argv);
  } finally {
    session.close();
    process.off("uncaughtException", onCrash);
  }
}

/** All commands in the order in which they are listed; nothing of them has run. */
export function createProgram(session: Session): Command {
  const program = new Command("bitnet")
    .description("Run, chat with, inspect and measure 1-bit language models.")
    .version(packageVersion(), "-V, --version", "print the version")
    .enablePositionalOptions()
    .helpOption("-h, --help", "print this help")
    .configureOutput({ outputError: () => {} }) // report() prints the error
    .exitOverride();
  registerRun(program, session);
  registerChat(program, session);
  registerEmbed(program, session);
  registerTokenize(program, session);
  registerBatch(program, session);
  registerModels(program, session);
  registerPull(program, session);
  registerLs(program, session);
  registerRm(program, session);
  registerInspect(program, session);
  registerConvert(program, session);
  registerServe(program, packageVersion(), session);
  registerWeb(program, session);
  registerKeys(program, session);
  registerTop(program, session);
  registerTrain(program, session);
  registerFinetune(program, session);
  registerMerge(program, session);
  registerEval(program, session);
  registerPerplexity(program, session);
  registerDoctor(program, session);
  registerBuildNative(program, session);
  registerBench(program, session);
  registerDummy(program, session);
  registerCompletion(program, session);
  addExamples(program);
  for (const command of [...program.commands, ...program.commands.flatMap(({ commands }) => commands)])
    prepare(command, session);
  return program;
}

/** Commander reads the environment while it parses, so that it has to be in order before. */
function prepare(command: Command, session: Session): void {
  command.addOption(option("--raw", "let control characters of files and models reach the terminal"));
  command.hook("preAction", () => {
    if (command.opts<{ raw?: boolean }>().raw) session.allowRaw();
  });
  const problem = cleanEnvironment(command, process.env);
  if (problem !== null)
    command.hook("preAction", () => {
      throw new BitNetError("INVALID_ARGUMENT", problem);
    });
}

/** One line on stderr, with --json also an object on stdout, unless the end is no error or nobody is there to read it. */
async function report(error: unknown, session: Session, argv: readonly string[]): Promise<void> {
  if (error instanceof CommanderError && error.exitCode === 0) return;
  if (session.endedBy === "EPIPE") return;
  session.fail();
  if (error instanceof CommanderError && error.code === "commander.help") return; // its text is the message
  const message = errorLine(error, session);
  session.note(`bitnet: ${message}`);
  if (wantsJson(argv))
    await session.write(`${JSON.stringify({ error: { code: codeOf(error), message } })}\n`);
  if (process.env.BITNET_DEBUG === "1" && error instanceof Error) session.note(error.stack ?? "");
}

function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return (end < 0 ? argv : argv.slice(0, end)).includes("--json") || saysYes(process.env.BITNET_JSON);
}

function codeOf(error: unknown): string {
  if (error instanceof BitNetError) return error.code;
  return error instanceof CommanderError ? "INVALID_ARGUMENT" : "INTERNAL";
}

function errorLine(error: unknown, session: Session): string {
  if (session.endedBy !== null && error instanceof BitNetError && error.code === "ABORTED")
    return "interrupted";
  const message = error instanceof Error ? error.message : String(error);
  const line = message
    .replace(/^error: /, "")
    .replaceAll(/\s*[\r\n]+\s*/g, " ")
    .trim();
  const isLost = error instanceof BitNetError && error.code === "FILE_NOT_FOUND" && line.includes("\ufffd");
  return isLost ? `${line}; Node reads only names that are UTF-8: rename it, or make a link to it` : line;
}
