/** The state of a chat: its commands and its answers. Where messages come from is in chat-input.ts. */
import { BitNetError, suggestion } from "@bitnet.ts/core";
import type { BitNet, Chat, Generation } from "bitnet.ts";
import type { ChatInput } from "./chat-input.ts";
import { asChat, readConversation, saveConversation, textOf } from "./conversation-file.ts";
import { formatBytes, formatCount, formatRate, plural } from "./format.ts";
import { type ModelFlags, type SamplingFlags, samplingOptions, setSampling } from "./options.ts";
import { expectReading } from "./reading.ts";
import type { Session } from "./session.ts";
import { WordWrap } from "./word-wrap.ts";

export interface ChatFlags extends ModelFlags, SamplingFlags {
  systemPrompt?: string;
  history?: boolean;
}

const help = `/help, /?       this list
/clear          forget the conversation
/system TEXT    set the system message; without TEXT: remove it
/set NAME VALUE change a setting of the sampler, such as /set temp 0.2; /set lists them
/regenerate     answer the last message again
/save FILE      write the conversation to a file
/load FILE      go on with a conversation from a file
/stats          model, memory and context
/bye            leave (also /exit, /quit, Ctrl-D)
A paste is one message, whatever lines it has; so is what stands between lines of """, or after a backslash at the end of a line.
Ctrl-C stops an answer. Other lines that begin with a slash are messages.`;

type Action = (rest: string) => boolean | Promise<boolean>;

export class Conversation {
  private readonly model: BitNet;
  private readonly flags: ChatFlags;
  private readonly session: Session;
  private readonly input: ChatInput;
  private chat: Chat;
  private nRegenerated = 0;
  /** The file that this conversation may overwrite. */
  private ownFile: string | null = null;
  private readonly actions: Readonly<Record<string, Action>>;

  constructor(model: BitNet, flags: ChatFlags, { session, input }: { session: Session; input: ChatInput }) {
    this.model = model;
    this.flags = flags;
    this.session = session;
    this.input = input;
    this.chat = model.createChat(flags.systemPrompt ? { system: flags.systemPrompt } : {});
    const say = (line: string) => {
      session.note(line);
      return true;
    };
    const leave = () => false;
    this.actions = {
      help: () => say(help),
      "?": () => say(help),
      clear: () => {
        this.chat.clear();
        return say("the conversation is forgotten");
      },
      system: (text) => {
        this.chat.setSystem(text === "" ? null : text);
        return say(text === "" ? "no system message" : "system message set");
      },
      set: (text) => say(setSampling(this.flags, text)),
      regenerate: () => this.regenerate(),
      save: async (path) => {
        await saveConversation(path, this.chat.messages, path === this.ownFile);
        this.ownFile = path;
        return say(`saved ${plural(this.chat.messages.length, "message")} to ${path}`);
      },
      load: async (path) => {
        const loaded = await readConversation(path);
        this.chat = model.createChat(loaded);
        this.ownFile = path;
        return say(`${plural(this.chat.messages.length, "message")} from ${path}`);
      },
      stats: () => say(this.stats()),
      bye: leave,
      exit: leave,
      quit: leave,
    };
  }

  /** @returns Whether the conversation goes on. */
  async take(message: string): Promise<boolean> {
    const { session, input } = this;
    if (message.trim() === "") return true;
    const [, name = "", rest = ""] = /^\/([a-z?]+)(?:\s+(.*))?$/s.exec(message.trimEnd()) ?? [];
    const action = Object.hasOwn(this.actions, name) ? this.actions[name] : undefined;
    try {
      if (action !== undefined) return await action(rest.trim());
      if (input.isTerminal && name !== "" && rest === "")
        session.aside(
          `/${name} is no command and goes to the model${suggestion(name, Object.keys(this.actions))}`,
        );
      await this.reply(message);
    } catch (error) {
      // What a command or a message asks for in vain is no reason to end a conversation.
      const isRefused =
        error instanceof BitNetError && /^(CONTEXT|INVALID|FILE|IO|TEMPLATE)_/.test(error.code);
      if (!isRefused) throw error;
      session.note(`bitnet: ${error.message}`);
      if (!input.isTerminal) session.fail();
    }
    return session.endedBy === null;
  }

  private async regenerate(): Promise<boolean> {
    const messages = this.chat.messages;
    const at = messages.findLastIndex(({ role }) => role === "user");
    const text = textOf(messages[at]);
    if (text === null) throw new BitNetError("INVALID_ARGUMENT", "there is no message to answer again");
    this.chat = this.model.createChat(asChat(messages.slice(0, at)));
    this.nRegenerated++;
    await this.reply(text);
    return this.session.endedBy === null;
  }

  private async reply(message: string): Promise<void> {
    const { session, chat, input, flags } = this;
    const controller = new AbortController();
    const release = input.catchInterrupt(() => controller.abort());
    const reading = expectReading(this.model.tokenizer.encode(message).length);
    try {
      const options = samplingOptions(flags);
      // The same seed would give the same answer again.
      if (options.seed !== undefined) options.seed = (options.seed + this.nRegenerated) % 2 ** 32;
      const signal = AbortSignal.any([session.signal, controller.signal]);
      const generation = chat.send(message, { ...options, signal });
      await this.print(generation, reading.end);
      const { ids, timings, stopReason } = await generation.result;
      const rate = timings.decodeTokensPerSecond;
      if (input.isTerminal) {
        const ended = stopReason === "eos" || stopReason === "stop" ? "" : `, stopped by ${stopReason}`;
        session.aside(`${plural(ids.length, "token")}${rate > 0 ? ` at ${formatRate(rate)}` : ""}${ended}`);
      }
    } finally {
      reading.end();
      release();
    }
  }

  private async print(generation: Generation, onFirst: () => void): Promise<void> {
    const { session, input } = this;
    const wrap = input.isTerminal ? new WordWrap(() => process.stdout.columns ?? 0) : null;
    let last = "";
    const write = async (text: string) => {
      if (text === "") return;
      await session.write(text);
      last = text;
    };
    for await (const { text } of generation) {
      onFirst();
      await write(wrap?.push(text) ?? text);
    }
    await write(wrap?.end() ?? "");
    if (!last.endsWith("\n")) await session.write("\n");
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
