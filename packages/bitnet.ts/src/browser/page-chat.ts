/**
 * A conversation on a page. The worker keeps the one that counts; here is what it looked like after the last answer, and messages
 * that are under way.
 */
import type { ChatMessage } from "@bitnet.ts/core";
import type { ValueGeneration } from "../answer-form.ts";
import type { Chat, SendOptions } from "../chat.ts";
import type { ToolResult } from "../tool-calls.ts";
import type { ChatState } from "./messages.ts";

/** What a chat asks of the page's end of the link. */
export interface ChatLink {
  send(text: string, options: SendOptions): ValueGeneration<never>;
  sendToolResults(results: readonly ToolResult[], options: SendOptions): ValueGeneration<never>;
  setSystem(text: string | null): void;
  clear(): void;
}

export class PageChat implements Pick<Chat, keyof Chat> {
  private readonly link: ChatLink;
  private system: string | null;
  private turns: readonly ChatMessage[];
  private dropped = 0;

  constructor(link: ChatLink, { system, messages }: { system?: string; messages?: readonly ChatMessage[] }) {
    this.link = link;
    this.system = system ?? null;
    this.turns = [...(messages ?? [])];
  }

  /** The system message first. A message that was sent stands here at once, its answer when it has ended. */
  get messages(): readonly ChatMessage[] {
    return this.system === null ? [...this.turns] : [{ role: "system", content: this.system }, ...this.turns];
  }

  get droppedMessages(): number {
    return this.dropped;
  }

  setSystem(text: string | null): void {
    this.system = text;
    this.link.setSystem(text);
  }

  clear(): void {
    this.turns = [];
    this.dropped = 0;
    this.link.clear();
  }

  /** As in Node, but what is wrong with the options or the length fails the result and the reading. */
  send(text: string, options: SendOptions = {}): ValueGeneration<never> {
    const generation = this.link.send(text, options);
    this.turns = [...this.turns, { role: "user", content: text }];
    return generation;
  }

  sendToolResults(results: readonly ToolResult[], options: SendOptions = {}): ValueGeneration<never> {
    return this.link.sendToolResults(results, options);
  }

  /** How the conversation stands in the worker. */
  update({ messages, dropped }: ChatState): void {
    this.turns = messages.filter(({ role }, i) => i > 0 || role !== "system");
    this.dropped = dropped;
  }
}
