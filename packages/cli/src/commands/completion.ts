/** `bitnet completion`: what a shell needs to complete commands, flags and their choices, made from the commands themselves. */
import { Argument, type Command } from "commander";
import type { Session } from "../session.ts";

const shells = ["bash", "zsh", "fish"] as const;
type Shell = (typeof shells)[number];

export function registerCompletion(program: Command, session: Session): void {
  program
    .command("completion")
    .description("print a script that completes commands and flags in a shell")
    .addArgument(new Argument("<shell>").choices(shells))
    .action((shell: Shell) => session.write(scripts[shell](program)));
}

/** A command or one of its own commands, by the words that call it. */
interface Called {
  readonly words: readonly string[];
  readonly command: Command;
}

function allCommands(command: Command, words: readonly string[] = []): Called[] {
  return command.commands.flatMap((each) => {
    const path = [...words, each.name()];
    return [{ words: path, command: each }, ...allCommands(each, path)];
  });
}

const namesIn = (command: Command) => command.commands.map((each) => each.name()).join(" ");

function flagsOf(command: Command): string[] {
  return command.options.flatMap(({ short, long }) => [long, short].filter((flag) => flag !== undefined));
}

/** The first command is the first word; where that has commands of its own, the second one is. */
function bash(program: Command): string {
  const all = allCommands(program);
  const cases = all.map(({ words, command }) => {
    const rest = command.commands.length > 0 ? "" : ` | "${words.join(" ")} "*`;
    return `    "${words.join(" ")}"${rest}) commands="${namesIn(command)}" flags="${flagsOf(command).join(" ")}" ;;`;
  });
  const patternsOf = new Map<string, string[]>();
  for (const { words, command } of all)
    for (const { argChoices, short, long } of command.options) {
      if (argChoices === undefined) continue;
      const key = argChoices.join(" ");
      const patterns = [long, short].flatMap((flag) => (flag === undefined ? [] : `"${words[0]} ${flag}"`));
      patternsOf.set(key, [...(patternsOf.get(key) ?? []), ...patterns]);
    }
  const choices = [...patternsOf].map(
    ([values, patterns]) => `    ${patterns.join(" | ")}) commands="${values}" ;;`,
  );
  return `_bitnet() {
  local current="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}"
  local called="" commands="${namesIn(program)}" flags=""
  if [ "$COMP_CWORD" -gt 1 ]; then called="\${COMP_WORDS[1]}" commands=""; fi
  if [ "$COMP_CWORD" -gt 2 ]; then called="$called \${COMP_WORDS[2]}"; fi
  case "$called" in
${cases.join("\n")}
  esac
  case "\${COMP_WORDS[1]} $before" in
${choices.join("\n")}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;
    *) if [ -n "$commands" ]; then COMPREPLY=($(compgen -W "$commands" -- "$current")); else COMPREPLY=($(compgen -f -- "$current")); fi ;;
  esac
}
complete -o filenames -F _bitnet bitnet bitnet.ts
`;
}

/** zsh reads bash's completions through a bridge of its own. */
function zsh(program: Command): string {
  return `autoload -U +X compinit && compinit -u
autoload -U +X bashcompinit && bashcompinit
${bash(program)}`;
}

function fish(program: Command): string {
  const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const line = (...parts: string[]) => ["complete -c bitnet", ...parts].join(" ");
  const seen = (words: readonly string[]) =>
    words.map((word) => `__fish_seen_subcommand_from ${word}`).join("; and ");
  const callsOf = (command: Command, when: string) =>
    command.commands.map((each) =>
      line(`-n '${when}' -f -a ${each.name()} -d ${quoted(each.description())}`),
    );
  const lines = allCommands(program).flatMap(({ words, command }) => [
    ...callsOf(command, `${seen(words)}; and not __fish_seen_subcommand_from ${namesIn(command)}`),
    ...command.options.map(({ short, long, description, required, argChoices }) =>
      line(
        `-n '${seen(words)}'`,
        ...(long?.startsWith("--") ? [`-l ${long.slice(2)}`] : []),
        ...(short && !short.startsWith("--") ? [`-s ${short.slice(1)}`] : []),
        ...(argChoices ? [`-x -a ${quoted(argChoices.join(" "))}`] : required ? ["-r"] : []),
        `-d ${quoted(description)}`,
      ),
    ),
  ]);
  return `${[...callsOf(program, "__fish_use_subcommand"), ...lines, "complete -c bitnet.ts -w bitnet"].join("\n")}\n`;
}

const scripts: Readonly<Record<Shell, (program: Command) => string>> = { bash, zsh, fish };
