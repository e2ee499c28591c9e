/** `bitnet build-native`: compiles the native backend, and the trainer's kernels, where no prebuilt package fits. */
import { buildNative } from "bitnet.ts/build-native";
import type { Command } from "commander";
import type { Session } from "../session.ts";

export function registerBuildNative(program: Command, session: Session): void {
  program
    .command("build-native")
    .description(
      "compile the native backend and the trainer's kernels with this machine's C++20 compiler, where no prebuilt package fits",
    )
    .action(async () => {
      session.note("Compiling the native backend and the trainer's kernels; this takes about a minute …");
      const path = await buildNative((text) => session.note(text.trimEnd()));
      await session.write(`${path}\n`);
      const { buildTrainer, trainerPath } = await import("@bitnet.ts/train/build");
      const outcome = await buildTrainer((text) => session.note(text.trimEnd()));
      if (outcome === "built") await session.write(`${trainerPath()}\n`);
      else session.note(`The trainer's kernels were not compiled (${outcome}); training uses slow ones.`);
    });
}
