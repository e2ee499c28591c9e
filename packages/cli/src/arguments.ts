/**
 * What commander does not do to the command line and the environment: short flags of several letters, and variables that are
 * empty or say "no". Knows the options only through commander's own descriptions.
 */
import type { Command, Option } from "commander";

/** llama.cpp's spelling; commander would read `-s ys`. */
const longForms: ReadonlyMap<string, string> = new Map([["-sys", "--system-prompt"]]);

/** Replaces short flags of several letters by their long forms; values of other options stay as they are. */
export function rewriteArguments(argv: readonly string[], program: Command): string[] {
  const command = program.commands.find((candidate) => candidate.name() === argv[0]);
  const options = command?.options ?? [];
  const out: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] ?? "";
    if (argument === "--") return [...out, ...argv.slice(i)];
    const rewritten = longForms.get(argument) ?? argument;
    out.push(rewritten);
    const next = argv[i + 1];
    if (takesValue(options, rewritten) && next !== undefined) {
      out.push(next);
      i++;
    }
  }
  return out;
}

function takesValue(options: readonly Option[], flag: string): boolean {
  return options.some((option) => option.required && (option.short === flag || option.long === flag));
}

const yes = ["1", "true", "yes", "on"];
const no = ["0", "false", "no", "off"];

/**
 * The environment as commander should see it: an empty variable counts as unset, and so does a switch that says no.
 * @returns What is wrong with a switch that says neither yes nor no, else null.
 */
export function cleanEnvironment(command: Command, environment: NodeJS.ProcessEnv): string | null {
  for (const { envVar, required } of command.options) {
    if (envVar === undefined) continue;
    const value = environment[envVar];
    if (value === undefined) continue;
    const isSwitch = !required;
    if (value === "" || (isSwitch && no.includes(value.toLowerCase()))) delete environment[envVar];
    else if (isSwitch && !yes.includes(value.toLowerCase()))
      return `environment variable ${envVar}: expected one of ${[...yes, ...no].join(", ")}, found ${JSON.stringify(value)}`;
  }
  return null;
}
