/** `bitnet web`: the chat page whose model runs in the browser. */
import { startWebServer, writeSite } from "@bitnet.ts/web";
import type { Command } from "commander";
import { modelOption, option } from "../options.ts";
import type { Session } from "../session.ts";
import { parseInteger } from "../values.ts";

interface WebFlags {
  host: string;
  port: number;
  model?: string;
  out?: string;
}

export function registerWeb(program: Command, session: Session): void {
  program
    .command("web")
    .description("serve a chat page whose model runs in the browser")
    .addOption(option("--host <address>", "address to listen on").default("127.0.0.1"))
    .addOption(
      option("--port <port>", "port; 0: any that is free").argParser(parseInteger(0, 65_535)).default(8080),
    )
    .addOption(modelOption("GGUF file that the page loads at once (default: the page asks)"))
    .addOption(
      option("--out <folder>", "write the page's files there, for any host, instead of serving them"),
    )
    .action((flags: WebFlags) => web(flags, session));
}

async function web({ host, port, model, out }: WebFlags, session: Session): Promise<void> {
  if (out !== undefined) {
    const files = await writeSite(out);
    await session.write(`${out}: ${files.length} files\n`);
    return;
  }
  const hub = process.env.HF_ENDPOINT?.replace(/\/+$/, "");
  const server = await startWebServer({
    host,
    port,
    ...(model === undefined ? {} : { modelFile: model }),
    ...(hub ? { hub } : {}),
  });
  await session.write(`listening on ${server.url}\n`);
  await new Promise<void>((ended) => {
    if (session.signal.aborted) ended();
    session.signal.addEventListener("abort", () => ended(), { once: true });
  });
  await server.close();
}
