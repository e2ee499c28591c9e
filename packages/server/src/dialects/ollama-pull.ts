/** Ollama's `pull` and `delete`: models from the hub, where the operator allows it. */
import { ServeError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import type { PullStatus } from "../pulling/pulls.ts";
import type { StreamWriter } from "../stream-writer.ts";

export async function ollamaPull(exchange: Exchange): Promise<void> {
  const { body, serving } = exchange;
  // The published client sends the old field.
  const name = body.string("model") ?? body.requiredString("name");
  const isStream = body.boolean("stream") ?? true;
  if (body.boolean("insecure") === true)
    throw new ServeError("INVALID_INPUT", "insecure: not supported; the hub is the operator's choice", {
      param: "insecure",
    });
  await exchange.countRequest();
  const lines = isStream ? new StatusLines(exchange) : null;
  await exchange.whileOpen(
    serving.pulls.pull(name, { signal: exchange.signal, onStatus: (status) => lines?.push(status) }),
  );
  if (lines === null) return exchange.sendJson({ status: "success" });
  await lines.end();
}

export async function ollamaDelete(exchange: Exchange): Promise<void> {
  const { body, serving } = exchange;
  const name = body.string("model") ?? body.requiredString("name");
  await exchange.countRequest();
  await serving.pulls.remove(name);
  exchange.reply.code(200).send();
}

export async function ollamaCopy(): Promise<void> {
  throw new ServeError("NOT_SUPPORTED", "copy: further names are given by whoever runs the server (--alias)");
}

/**
 * The stream, which begins with the first thing to say, so that what is refused before has a status. Of what a slow reader has not taken, only the
 * last is kept.
 */
class StatusLines {
  readonly #exchange: Exchange;
  #writer: StreamWriter | null = null;
  #latest: object | null = null;
  #writing: Promise<void> = Promise.resolve();
  #isWriting = false;
  #lastStep = "";

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  push({ phase, file, doneBytes }: PullStatus): void {
    // A line for every hundredth of a file.
    const step = `${phase} ${file.path} ${Math.floor((100 * doneBytes) / Math.max(1, file.size))}`;
    if (step === this.#lastStep) return;
    this.#lastStep = step;
    const digest = file.sha256 === null ? {} : { digest: `sha256:${file.sha256}` };
    this.#latest =
      phase === "verifying"
        ? { status: "verifying sha256 digest", ...digest }
        : {
            status: `pulling ${file.sha256?.slice(0, 12) ?? file.path}`,
            ...digest,
            ...{ total: file.size, completed: doneBytes },
          };
    if (!this.#isWriting) this.#writing = this.#write();
  }

  async end(): Promise<void> {
    await this.#writing;
    this.#exchange.throwIfAborted();
    const writer = await this.#open();
    await writer.write(line({ status: "writing manifest" }));
    writer.end(line({ status: "success" }));
  }

  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      const writer = await this.#open();
      for (let next = this.#latest; next !== null; next = this.#latest) {
        this.#latest = null;
        await writer.write(line(next));
      }
    } catch (error) {
      // Who does not read any more has left.
      this.#exchange.abort(
        error instanceof ServeError ? error : new ServeError("ABORTED", "the client has left"),
      );
    } finally {
      this.#isWriting = false;
    }
  }

  async #open(): Promise<StreamWriter> {
    if (this.#writer !== null) return this.#writer;
    this.#writer = this.#exchange.openStream("ndjson");
    await this.#writer.write(line({ status: "pulling manifest" }));
    return this.#writer;
  }
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
