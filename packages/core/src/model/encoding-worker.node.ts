/** The thread that encodes long prompts, with a tokenizer of its own from the model's files. */
import { parentPort, workerData } from "node:worker_threads";
import { BitNetError } from "../base/errors.ts";
import { openPath } from "../formats/model-files.node.ts";
import { openModelFiles } from "../formats/model-files.ts";
import type { ChatTemplate } from "../tokenizer/chat-template.ts";
import { chatTemplateFor } from "../tokenizer/default-template.ts";
import { type EncodeJob, runEncodeJob } from "../tokenizer/encode-job.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { describeModel } from "./load-model.ts";
import type { FromEncoder } from "./prompt-encoder.node.ts";
import { readTokenizer } from "./tokenizer-source.ts";

const place = workerData as string;
const opened = open();
opened.catch(() => {}); // every job hears of it

async function open(): Promise<{ tokenizer: Tokenizer; template: () => ChatTemplate }> {
  const files = await openModelFiles(await openPath(place));
  try {
    const model = describeModel(files, place);
    const tokenizer = readTokenizer(files, model.config);
    let template: ChatTemplate | null = null;
    return {
      tokenizer,
      template: () => {
        template ??= chatTemplateFor(model.chatTemplate, place, model.defaultChatTemplate, tokenizer);
        return template;
      },
    };
  } finally {
    await files.close();
  }
}

parentPort?.on("message", async (job: EncodeJob) => {
  let answer: FromEncoder;
  let ids = new Int32Array();
  try {
    const { tokenizer, template } = await opened;
    const encoded = runEncodeJob(job, tokenizer, template);
    // In memory of their own, which is handed over.
    ids = Int32Array.from(encoded.ids);
    answer = { encoded: { ...encoded, ids } };
  } catch (error) {
    const { code, message, details } =
      error instanceof BitNetError ? error : { code: null, message: String(error), details: {} };
    answer = { error: { code, message, details } };
  }
  parentPort?.postMessage(answer, [ids.buffer]);
});
