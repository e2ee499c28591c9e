/**
 * A chat on a page: conversations, messages, the field to write in, stop, regenerate, edit, copy, theme. Who answers is told to it. Plain
 * DOM: one screen with three lists does not need a framework. All text of models and people is set as text, never as markup. The page
 * brings the elements (index.html).
 */
import {
  type Conversation,
  dropConversation,
  keepConversation,
  loadConversations,
  newConversation,
  type Turn,
} from "./conversations.ts";
import { copyText } from "./copy-text.ts";
import { showText } from "./message-text.ts";
import { startTheme } from "./theme.ts";

export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

/** What one piece of an answer adds. */
export interface Delta {
  content?: string | null;
  reasoning_content?: string | null;
}

export interface Question {
  /** The system message first, if there is one. */
  messages: readonly Message[];
  signal: AbortSignal;
  onDelta(delta: Delta): void;
}

export interface Answered {
  /** "length" when the answer was cut off. */
  finishReason: string | null;
  nTokens: number;
}

export interface ChatView {
  /** One line below the messages. */
  say(text: string): void;
  /** Stops an answer that is being made. */
  stop(): void;
}

export function find<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  fields: Partial<HTMLElementTagNameMap[K]> = {},
  children: (Node | string)[] = [],
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}

export function button(label: string, onclick: () => void): HTMLButtonElement {
  return element("button", { type: "button", textContent: label, onclick });
}

/** Names of the fields in the settings that hold numbers, and are the same in requests. */
const numbers = ["temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens", "seed"] as const;

/** What the settings say; empty fields are left out. */
export function readNumbers(): Partial<Record<(typeof numbers)[number], number>> {
  const fields: Partial<Record<(typeof numbers)[number], number>> = {};
  for (const id of numbers) {
    const { value } = find<HTMLInputElement>(id);
    if (value !== "") fields[id] = Number(value);
  }
  return fields;
}

/** Starts the chat in the elements of the page. @param ask Makes an answer; what it throws is shown. */
export function startChatView(ask: (question: Question) => Promise<Answered>): ChatView {
  const log = find("log");
  const text = find<HTMLTextAreaElement>("text");
  const state = find("state");

  let conversations: Conversation[] = loadConversations();
  let current: Conversation = conversations[0] ?? addConversation();
  let running: AbortController | null = null;
  /** The answer that is being made. */
  let coming: Turn | null = null;

  function addConversation(): Conversation {
    const made = newConversation();
    conversations = [made, ...conversations];
    return made;
  }

  function showList(): void {
    const items = conversations
      .filter((each) => each.turns.length > 0 || each === current)
      .map((each) => {
        const remove = button("×", () => removeConversation(each));
        remove.ariaLabel = `Delete ${each.title}`;
        const open = button(each.title, () => select(each));
        open.dir = "auto";
        const item = element("li", {}, [open, remove]);
        if (each === current) item.setAttribute("aria-current", "true");
        return item;
      });
    find("list").replaceChildren(...items);
  }

  function select(conversation: Conversation): void {
    running?.abort();
    current = conversation;
    openSide(false);
    show();
    text.focus();
  }

  function removeConversation(conversation: Conversation): void {
    conversations = conversations.filter((each) => each !== conversation);
    dropConversation(conversation);
    if (conversation === current) select(conversations[0] ?? addConversation());
    else showList();
  }

  function show(): void {
    showList();
    const { turns } = current;
    if (turns.length === 0)
      log.replaceChildren(element("p", { className: "hint", textContent: "Ask something." }));
    else log.replaceChildren(...turns.map(turnElement));
    log.scrollTop = log.scrollHeight;
  }

  function turnElement(turn: Turn, index: number): HTMLElement {
    const body = element("div", { className: "body" });
    showText(body, turn.content);
    const tools = element("div", { className: "tools" });
    if (turn.role === "user") tools.append(button("Edit", () => edit(index)));
    else if (turn !== coming) {
      if (index === current.turns.length - 1) tools.append(button("Regenerate", () => void answer(index)));
      tools.append(
        button("Copy", () => void copy(turn.content)),
        turn.note ?? "",
      );
    }
    const thoughts = turn.reasoning
      ? [
          element("details", {}, [
            element("summary", { textContent: "Thoughts" }),
            element("div", { dir: "auto", textContent: turn.reasoning }),
          ]),
        ]
      : [];
    const made = element("article", { className: turn.role }, [...thoughts, body, tools]);
    made.setAttribute("aria-label", turn.role === "user" ? "You" : "Model");
    return made;
  }

  async function copy(content: string): Promise<void> {
    state.textContent = (await copyText(content)) ? "Copied" : "The browser lets nothing be copied here";
  }

  /** Takes a message back into the field, and what came after it away. */
  function edit(index: number): void {
    running?.abort();
    text.value = current.turns[index]?.content ?? "";
    current.turns.length = index;
    show();
    fitText();
    text.focus();
  }

  function send(): void {
    const content = text.value.trim();
    if (content === "" || running !== null) return;
    if (current.turns.length === 0) current.title = content.slice(0, 40);
    current.turns.push({ role: "user", content });
    text.value = "";
    fitText();
    void answer(current.turns.length);
  }

  /** Makes the turn number `at` anew, from those before it. */
  async function answer(at: number): Promise<void> {
    const conversation = current;
    running?.abort(); // one answer at a time
    state.textContent = "";
    conversation.turns.length = at;
    const system = find<HTMLTextAreaElement>("system").value.trim();
    const messages: Message[] = [
      ...(system === "" ? [] : [{ role: "system" as const, content: system }]),
      ...conversation.turns.map(({ role, content }) => ({ role, content })),
    ];
    const turn: Turn = { role: "assistant", content: "" };
    conversation.turns.push(turn);
    coming = turn;
    running = new AbortController();
    const { signal } = running;
    setRunning(true);
    show();
    const start = performance.now();
    let first = 0;
    let nTokens = 0;
    try {
      const answered = await ask({
        messages,
        signal,
        onDelta(delta) {
          if (delta.content || delta.reasoning_content) {
            first ||= performance.now();
            nTokens++;
          }
          turn.content += delta.content ?? "";
          if (delta.reasoning_content) turn.reasoning = (turn.reasoning ?? "") + delta.reasoning_content;
          if (conversation === current) update(turn, at);
        },
      });
      nTokens = answered.nTokens;
      turn.note = noteOf(nTokens, first, start, answered.finishReason === "length" ? ", cut off" : "");
      state.textContent = "";
    } catch (error) {
      turn.note = noteOf(nTokens, first, start, ", stopped");
      state.textContent = signal.aborted
        ? ""
        : `Failed: ${error instanceof Error ? error.message : String(error)}`;
      // It may have been taken away with what it answers.
      if (turn.content === "") conversation.turns = conversation.turns.filter((each) => each !== turn);
    }
    if (running?.signal === signal) {
      running = coming = null;
      setRunning(false);
    }
    if (!conversations.includes(conversation)) return; // deleted meanwhile
    conversations = [conversation, ...conversations.filter((each) => each !== conversation)];
    keepConversation(conversation);
    if (conversation === current) show();
  }

  function noteOf(nTokens: number, first: number, start: number, end: string): string {
    const seconds = (performance.now() - first) / 1000;
    const rate = nTokens > 1 && seconds > 0 ? `, ${(nTokens / seconds).toFixed(1)} tokens/s` : "";
    const wait = first > 0 ? `, first after ${Math.round(first - start)} ms` : "";
    return `${nTokens} tokens${rate}${wait}${end}`;
  }

  function update(turn: Turn, at: number): void {
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    const shown = log.children[at];
    const body = shown?.querySelector<HTMLElement>(".body");
    const thoughts = shown?.querySelector("details > div");
    if (body && (thoughts || !turn.reasoning)) {
      showText(body, turn.content);
      if (thoughts) thoughts.textContent = turn.reasoning ?? "";
    } else shown?.replaceWith(turnElement(turn, at));
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }

  function setRunning(isRunning: boolean): void {
    find("send").hidden = isRunning;
    find("stop").hidden = !isRunning;
    log.ariaBusy = String(isRunning);
  }

  function fitText(): void {
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
  }

  function openSide(isOpen: boolean): void {
    find("side").classList.toggle("open", isOpen);
    find("menu").ariaExpanded = String(isOpen);
  }

  function setUp(): void {
    startTheme(find("theme"));
    find("tune").onclick = () => {
      const panel = find("settings");
      panel.hidden = !panel.hidden;
      find("tune").ariaExpanded = String(!panel.hidden);
    };
    find("settings").onsubmit = (event) => event.preventDefault();
    find("menu").onclick = () => openSide(!find("side").classList.contains("open"));
    find("new").onclick = () =>
      select(conversations.find((each) => each.turns.length === 0) ?? addConversation());
    find("stop").onclick = () => running?.abort();
    find("ask").onsubmit = (event) => {
      event.preventDefault();
      send();
    };
    text.oninput = fitText;
    text.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    };
    document.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      running?.abort();
      if (!find("side").classList.contains("open")) return;
      openSide(false);
      find("menu").focus();
    };
  }

  setUp();
  show();
  return {
    say(line) {
      state.textContent = line;
    },
    stop: () => running?.abort(),
  };
}
