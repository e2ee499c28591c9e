/**
 * The chat page. Plain DOM: one screen with three lists does not need a framework. All text of models and people is set as text, never as
 * markup.
 */
import { ask } from "./ask.ts";
import {
  type Conversation,
  loadConversations,
  newConversation,
  saveConversations,
  type Turn,
} from "./conversations.ts";

function find<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const log = find("log");
const text = find<HTMLTextAreaElement>("text");
const state = find("state");
const numbers = ["temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens", "seed"] as const;

let conversations: Conversation[] = loadConversations();
let current: Conversation = conversations[0] ?? addConversation();
let running: AbortController | null = null;

function addConversation(): Conversation {
  const made = newConversation();
  conversations = [made, ...conversations];
  return made;
}

function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  fields: Partial<HTMLElementTagNameMap[K]> = {},
  children: (Node | string)[] = [],
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}

function button(label: string, onclick: () => void): HTMLButtonElement {
  return element("button", { type: "button", textContent: label, onclick });
}

function showList(): void {
  const items = conversations
    .filter((each) => each.turns.length > 0 || each === current)
    .map((each) => {
      const remove = button("×", () => removeConversation(each));
      remove.ariaLabel = `Delete ${each.title}`;
      const item = element("li", {}, [button(each.title, () => select(each)), remove]);
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
  saveConversations(conversations);
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
  const body = element("div", { className: "body", textContent: turn.content });
  const tools = element("div", { className: "tools" });
  if (turn.role === "user") tools.append(button("Edit", () => edit(index)));
  else {
    if (index === current.turns.length - 1) tools.append(button("Regenerate", () => void answer(index)));
    tools.append(
      button("Copy", () => void navigator.clipboard.writeText(turn.content)),
      turn.note ?? "",
    );
  }
  const thoughts = turn.reasoning
    ? [element("details", {}, [element("summary", { textContent: "Thoughts" }), turn.reasoning])]
    : [];
  const made = element("article", { className: turn.role }, [...thoughts, body, tools]);
  made.setAttribute("aria-label", turn.role === "user" ? "You" : "Model");
  return made;
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

function settings(): object {
  const fields: Record<string, unknown> = {};
  for (const id of numbers) {
    const { value } = find<HTMLInputElement>(id);
    if (value !== "") fields[id] = Number(value);
  }
  if (find<HTMLInputElement>("json").checked) fields.response_format = { type: "json_object" };
  return fields;
}

/** Makes the turn number `at` anew, from those before it. */
async function answer(at: number): Promise<void> {
  const conversation = current;
  conversation.turns.length = at;
  const system = find<HTMLTextAreaElement>("system").value.trim();
  const messages = [
    ...(system === "" ? [] : [{ role: "system", content: system }]),
    ...conversation.turns.map(({ role, content }) => ({ role, content })),
  ];
  const turn: Turn = { role: "assistant", content: "" };
  conversation.turns.push(turn);
  running = new AbortController();
  const { signal } = running;
  setRunning(true);
  show();
  const start = performance.now();
  let first = 0;
  let nTokens = 0;
  try {
    const answered = await ask({
      body: { ...settings(), messages },
      key: find<HTMLInputElement>("key").value,
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
    if (turn.content === "") conversation.turns.splice(conversation.turns.indexOf(turn), 1);
  }
  running = null;
  setRunning(false);
  conversations = [conversation, ...conversations.filter((each) => each !== conversation)];
  saveConversations(conversations);
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
  log.children[at]?.replaceWith(turnElement(turn, at));
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

function setTheme(theme: string): void {
  document.documentElement.dataset.theme = theme;
}

function setUp(): void {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  setTheme(localStorage.getItem("bitnet.theme") ?? dark);
  find("theme").onclick = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    setTheme(next);
    localStorage.setItem("bitnet.theme", next);
  };
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
    if (event.key === "Escape") running?.abort();
  };
}

async function showModel(): Promise<void> {
  const response = await fetch("/v1/models").catch(() => null);
  if (response?.status === 401) state.textContent = "This server wants an API key: enter it in the settings.";
  if (!response?.ok) return;
  const { data } = (await response.json()) as { data: { id: string }[] };
  find("model").textContent = data[0]?.id ?? "bitnet.ts";
}

setUp();
show();
void showModel();
