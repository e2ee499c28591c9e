/** The chat page of the server: the chat, answered over HTTP. */
import { ask } from "./ask.ts";
import { find, readNumbers, startChatView } from "./chat-view.ts";

const view = startChatView(({ messages, signal, onDelta }) => {
  const isJson = find<HTMLInputElement>("json").checked;
  return ask({
    body: { ...readNumbers(), ...(isJson ? { response_format: { type: "json_object" } } : {}), messages },
    key: find<HTMLInputElement>("key").value,
    signal,
    onDelta,
  });
});

async function showModel(): Promise<void> {
  const response = await fetch("/v1/models").catch(() => null);
  if (response?.status === 401) view.say("This server wants an API key: enter it in the settings.");
  if (!response?.ok) return;
  const { data } = (await response.json()) as { data: { id: string }[] };
  find("model").textContent = data[0]?.id ?? "bitnet.ts";
}

void showModel();
