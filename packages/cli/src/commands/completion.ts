/** `bitnet completion`: what a shell needs to complete commands and flags, made from the commands themselves. */
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

function flagsOf(command: Command): string[] {
  return command.options.flatMap(({ short, long }) => [long, short].filter((flag) => flag !== undefined));
}

function bash(program: Command): string {
  const names = program.commands.map((command) => command.name());
  const cases = program.commands.map((each) => `    ${each.name()}) words="${flagsOf(each).join(" ")}" ;;`);
  return `_bitnet() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words="${names.join(" ")}"
  if [ "$COMP_CWORD" -gt 1 ]; then
    words=""
    case "\${COMP_WORDS[1]}" in
${cases.map((line) => `  ${line}`).join("\n")}
    esac
  fi
  COMPREPLY=()
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    *) if [ "$COMP_CWORD" -gt 1 ]; then COMPREPLY=($(compgen -f -- "$current")); else COMPREPLY=($(compgen -W "$words" -- "$current")); fi ;;
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
  const lines = program.commands.flatMap((command) => [
    `complete -c bitnet -n __fish_use_subcommand -a ${command.name()} -d ${quoted(command.description())}`,
    ...command.options.map(({ short, long, description }) =>
      [
        `complete -c bitnet -n '__fish_seen_subcommand_from ${command.name()}'`,
        ...(long?.startsWith("--") ? [`-l ${long.slice(2)}`] : []),
        ...(short && !short.startsWith("--") ? [`-s ${short.slice(1)}`] : []),
        `-d ${quoted(description)}`,
      ].join(" "),
    ),
  ]);
  return `${lines.join("\n")}\n`;
}

const scripts: Readonly<Record<Shell, (program: Command) => string>> = { bash, zsh, fish };
