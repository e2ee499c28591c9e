/** The chat page in the browser: the server's chat, answered by a model that runs here. */
import { find, readNumbers, startChatView } from "@bitnet.ts/server/page";
import { answerFrom } from "./answer.ts";
import { ModelHolder } from "./model-holder.ts";
import { startModelPanel } from "./model-panel.ts";
import { startServiceWorker } from "./start-service-worker.ts";

const hub = document.querySelector<HTMLMetaElement>('meta[name="bitnet-hub"]')?.content ?? null;
const holder = new ModelHolder(hub);

const view = startChatView(async (question) => {
  const model = holder.current;
  if (model === null) {
    panel.open();
    throw new Error("choose a model first");
  }
  const { temperature, top_p, top_k, min_p, repeat_penalty, max_tokens, seed } = readNumbers();
  const answer = answerFrom(model, question, {
    ...(temperature === undefined ? {} : { temperature }),
    ...(top_p === undefined ? {} : { topP: top_p }),
    ...(top_k === undefined ? {} : { topK: top_k }),
    ...(min_p === undefined ? {} : { minP: min_p }),
    ...(repeat_penalty === undefined ? {} : { repeatPenalty: repeat_penalty }),
    ...(max_tokens === undefined ? {} : { maxTokens: max_tokens }),
    ...(seed === undefined ? {} : { seed }),
  });
  return answer.catch((error: unknown) => {
    holder.noteFailure(error);
    throw error;
  });
});
const panel = startModelPanel(holder, view);

find("text").focus();
void startServiceWorker();
panel.start();
