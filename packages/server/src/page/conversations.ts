/** Conversations, kept in the browser and nowhere else. Knows nothing of the page. */

export interface Turn {
  role: "user" | "assistant";
  content: string;
  reasoning?: string;
  /** Tokens per second and the like. */
  note?: string;
}

export interface Conversation {
  id: string;
  title: string;
  turns: Turn[];
}

const storageKey = "bitnet.conversations";
const maxKept = 50;

export function loadConversations(): Conversation[] {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(storageKey) ?? "[]");
    return Array.isArray(value) ? (value as Conversation[]).filter((each) => Array.isArray(each?.turns)) : [];
  } catch {
    return [];
  }
}

/** Puts it first. Other tabs have conversations of their own in the same list. */
export function keepConversation(conversation: Conversation): void {
  save([conversation, ...without(conversation)]);
}

export function dropConversation(conversation: Conversation): void {
  save(without(conversation));
}

function without({ id }: Conversation): Conversation[] {
  return loadConversations().filter((each) => each.id !== id);
}

function save(conversations: readonly Conversation[]): void {
  const kept = conversations.filter(({ turns }) => turns.length > 0).slice(0, maxKept);
  try {
    localStorage.setItem(storageKey, JSON.stringify(kept));
  } catch {
    // Full or forbidden: the conversation goes on unkept.
  }
}

export function newConversation(): Conversation {
  return { id: crypto.getRandomValues(new Uint32Array(2)).join("-"), title: "New conversation", turns: [] };
}
