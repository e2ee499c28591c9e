/** `bitnet chat`: a conversation on a terminal, or with piped lines as messages. */
import type { Command } from "commander";
import { historyPath, noHistory, openHistory } from "../chat-history.ts";
import { openPipedInput } from "../chat-input.ts";
import { type ChatFlags, Conversation } from "../conversation.ts";
import { loadModel } from "../load-model.ts";
import { addModelOptions, addSamplingOptions, option } from "../options.ts";
import type { Session } from "../session.ts";
import { openTerminalInput } from "../terminal-input.ts";

export function registerChat(program: Command, session: Session): void {
  const command = program
    .command("chat")
    .description("talk with a model; without a terminal every line of standard input is a message")
    .argument("[model]", "the same as -m")
    .addOption(option("--sys, --system-prompt <text>", "(also -sys) system message at the beginning"))
    .addOption(option("--no-history", "neither read nor keep the messages of earlier sessions"));
  addModelOptions(command);
  addSamplingOptions(command, { nPredict: -1 }).action((model: string | undefined, flags: ChatFlags) =>
    chat(model === undefined ? flags : { ...flags, model }, session),
  );
}

async function chat(flags: ChatFlags, session: Session): Promise<void> {
  const model = await loadModel(flags, session);
  const isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const history = flags.history === false ? noHistory : openHistory(historyPath());
  const input = isTerminal ? openTerminalInput(session.signal, history) : openPipedInput(session.signal);
  const talk = new Conversation(model, { ...flags }, { session, input });
  try {
    if (isTerminal)
      session.aside(
        `${model.info.name} on ${model.info.backend}/${model.info.isa}; /help lists the commands`,
      );
    for (;;) {
      const message = await input.next();
      if (message === null || !(await talk.take(message))) break;
    }
  } finally {
    input.close();
    await model.dispose();
  }
}
