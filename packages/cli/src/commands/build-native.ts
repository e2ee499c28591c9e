/** `bitnet build-native`: compiles the native backend where no prebuilt package fits. */
import { buildNative } from "bitnet.ts/build-native";
import type { Command } from "commander";
import type { Session } from "../session.ts";

export function registerBuildNative(program: Command, session: Session): void {
  program
    .command("build-native")
    .description(
      "compile the native backend with this machine's C++20 compiler, where no prebuilt package fits",
    )
    .action(async () => {
      session.note("Compiling the native backend; this takes about a minute …");
      const path = await buildNative((text) => session.note(text.trimEnd()));
      await session.write(`${path}\n`);
    });
}
