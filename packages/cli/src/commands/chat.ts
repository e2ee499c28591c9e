/**
 * `bitnet chat`: a conversation on a terminal, or with piped lines as messages. What the user types is in chat-input.ts; here are
 * the commands and the answers.
 */
import { BitNetError } from "@bitnet.ts/core";
import type { BitNet, Chat } from "bitnet.ts";
import type { Command } from "commander";
import { type ChatInput, openPipedInput, openTerminalInput } from "../chat-input.ts";
import { formatBytes, formatCount, formatRate, plural } from "../format.ts";
import { loadModel } from "../load-model.ts";
import {
  addModelOptions,
  addSamplingOptions,
  type ModelFlags,
  option,
  type SamplingFlags,
  samplingOptions,
} from "../options.ts";
import type { Session } from "../session.ts";
import { dim } from "../terminal.ts";

interface ChatFlags extends ModelFlags, SamplingFlags {
  systemPrompt?: string;
}

const help = `/help          this list
/clear         forget the conversation
/system TEXT   set the system message; without TEXT: remove it
/stats         model, memory and context
/exit          leave (also Ctrl-D)
A backslash at the end of a line continues the message on the next one. Ctrl-C stops an answer.`;

export function registerChat(program: Command, session: Session): void {
  const command = program
    .command("chat")
    .description("talk with a model; without a terminal every line of standard input is a message")
    .addOption(option("--sys, --system-prompt <text>", "(also -sys) system message at the beginning"));
  addModelOptions(command);
  addSamplingOptions(command).action((flags: ChatFlags) => chat(flags, session));
}

async function chat(flags: ChatFlags, session: Session): Promise<void> {
  const model = await loadModel(flags, session);
  const isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const input = isTerminal ? openTerminalInput(session.signal) : openPipedInput(session.signal);
  const talk = new Conversation(model, flags, session, input);
  try {
    if (isTerminal)
      session.note(
        dim(`${model.info.name} on ${model.info.backend}/${model.info.isa}; /help lists the commands`),
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

class Conversation {
  private readonly model: BitNet;
  private readonly flags: ChatFlags;
  private readonly session: Session;
  private readonly input: ChatInput;
  private readonly chat: Chat;

  constructor(model: BitNet, flags: ChatFlags, session: Session, input: ChatInput) {
    this.model = model;
    this.flags = flags;
    this.session = session;
    this.input = input;
    this.chat = model.createChat(flags.systemPrompt ? { system: flags.systemPrompt } : {});
  }

  /** @returns Whether the conversation goes on. */
  async take(message: string): Promise<boolean> {
    if (message.trim() === "") return true;
    const [, name, rest = ""] = /^\/(\S*)\s*(.*)$/s.exec(message) ?? [];
    if (name !== undefined) return this.command(name, rest.trim());
    await this.reply(message);
    return this.session.endedBy === null;
  }

  private command(name: string, rest: string): boolean {
    const { session, chat } = this;
    switch (name) {
      case "help":
        session.note(help);
        return true;
      case "clear":
        chat.clear();
        session.note("the conversation is forgotten");
        return true;
      case "system":
        chat.setSystem(rest === "" ? null : rest);
        session.note(rest === "" ? "no system message" : "system message set");
        return true;
      case "stats":
        session.note(this.stats());
        return true;
      case "exit":
      case "quit":
        return false;
      default:
        session.note(`/${name}: no such command; /help lists them`);
        return true;
    }
  }

  private async reply(message: string): Promise<void> {
    const { session, chat, input } = this;
    const controller = new AbortController();
    const release = input.catchInterrupt(() => controller.abort());
    try {
      const signal = AbortSignal.any([session.signal, controller.signal]);
      const generation = chat.send(message, { ...samplingOptions(this.flags), signal });
      let last = "";
      for await (const { text } of generation) {
        await session.write(text);
        last = text || last;
      }
      if (!last.endsWith("\n")) await session.write("\n");
      const { ids, timings, stopReason } = await generation.result;
      const rate = timings.decodeTokensPerSecond;
      if (input.isTerminal) {
        const ended = stopReason === "eos" || stopReason === "stop" ? "" : `, stopped by ${stopReason}`;
        session.note(
          dim(`${plural(ids.length, "token")}${rate > 0 ? ` at ${formatRate(rate)}` : ""}${ended}`),
        );
      }
    } catch (error) {
      // A message that does not fit is no reason to end a conversation.
      if (!(error instanceof BitNetError) || error.code !== "CONTEXT_EXCEEDED") throw error;
      session.note(`bitnet: ${error.message}`);
      if (!input.isTerminal) session.fail();
    } finally {
      release();
    }
  }

  private stats(): string {
    const { info } = this.model;
    const { privateBytes, mappedBytes, kvBytesPerToken, pagesInUse, pagesCached, pagesFree } =
      this.model.stats();
    return [
      `${info.name}: ${formatCount(info.nParameters)} parameters, ${info.backend}/${info.isa}, ${plural(info.threads, "thread")}`,
      `memory: ${formatBytes(privateBytes)} private, ${formatBytes(mappedBytes)} mapped, ${formatBytes(kvBytesPerToken)} per token of context`,
      `context: ${formatCount(info.contextLength)} tokens; cache pages: ${pagesInUse} in use, ${pagesCached} kept, ${pagesFree} free`,
      `conversation: ${this.chat.messages.length} messages, ${this.chat.droppedMessages} dropped because the context was full`,
    ].join("\n");
  }
}
