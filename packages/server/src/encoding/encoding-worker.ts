/** The thread that encodes long prompts, with a tokenizer of its own from the model's file. */
import { parentPort, workerData } from "node:worker_threads";
import {
  BitNetError,
  type ChatTemplate,
  chatTemplateFor,
  describeModel,
  openModelFiles,
  readTokenizer,
  type Tokenizer,
} from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { type EncodeJob, runJob } from "./encode-job.ts";
import type { FromEncoder } from "./prompt-encoder.ts";

const source = workerData as string;
const opened = open();
opened.catch(() => {}); // every job hears of it

async function open(): Promise<{ tokenizer: Tokenizer; template: () => ChatTemplate }> {
  const files = await openModelFiles(await openPath(source));
  try {
    const model = describeModel(files, source);
    const tokenizer = readTokenizer(files, model.config);
    let template: ChatTemplate | null = null;
    return {
      tokenizer,
      template: () => {
        template ??= chatTemplateFor(model.chatTemplate, source, model.defaultChatTemplate, tokenizer);
        return template;
      },
    };
  } finally {
    await files.close();
  }
}

parentPort?.on("message", async (job: EncodeJob) => {
  let answer: FromEncoder;
  try {
    const { tokenizer, template } = await opened;
    answer = { encoded: runJob(job, tokenizer, template) };
  } catch (error) {
    const { code, message } = error instanceof BitNetError ? error : { code: null, message: String(error) };
    answer = { error: { code, message } };
  }
  parentPort?.postMessage(answer, "encoded" in answer ? [answer.encoded.ids.buffer] : []);
});
