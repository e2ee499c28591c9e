/**
 * What commander does not do to the command line and the environment: short flags of several letters, and variables that are
 * empty or say "no". Knows the options only through commander's own descriptions.
 */
import { BitNetError, suggestion } from "@bitnet.ts/core";
import type { Command, Option } from "commander";
import { translate } from "./llama-flags.ts";

/**
 * Gives flags of llama.cpp the form that they have here; values of other options stay as they are.
 * @throws BitNetError INVALID_ARGUMENT for what would be read as a bundle of short flags, or means nothing here.
 */
export function rewriteArguments(argv: readonly string[], program: Command): string[] {
  const name = argv[0] ?? "";
  const command = program.commands.find((candidate) => candidate.name() === name);
  if (command === undefined) {
    refuseModel(name);
    return [...argv];
  }
  const { options } = command;
  const out: string[] = [name];
  for (let i = 1; i < argv.length; i++) {
    const argument = argv[i] ?? "";
    if (argument === "--") return [...out, ...argv.slice(i)];
    const isOwn = options.some(({ short, long }) => short === argument || long === argument);
    const habit = isOwn ? null : translate(argument, argv.slice(i + 1), name);
    if (habit !== null) {
      out.push(...habit.args);
      i += habit.nTaken;
      continue;
    }
    refuseBundle(argument, options);
    out.push(argument);
    const next = argv[i + 1];
    if (takesValue(options, argument) && next !== undefined) {
      out.push(next);
      i++;
    }
  }
  return out;
}

/** A model in the place of the command, as some tools take it. */
function refuseModel(name: string): void {
  if (!/^hf:|\.gguf$|^[^-].*[/\\]/i.test(name)) return;
  throw new BitNetError(
    "INVALID_ARGUMENT",
    `${name} is no command; to use it as a model: bitnet run ${name} "a prompt", or bitnet chat ${name}`,
  );
}

/** `-n5` is a flag with its value; `-ngx` is none, though commander would read it as `-n gx`. */
function refuseBundle(argument: string, options: readonly Option[]): void {
  if (!/^-[A-Za-z][A-Za-z-]+$/.test(argument)) return;
  const names = options.flatMap(({ short, long }) => [short ?? "", long ?? ""]).filter((flag) => flag !== "");
  throw new BitNetError("INVALID_ARGUMENT", `unknown option ${argument}${suggestion(argument, names)}`);
}

function takesValue(options: readonly Option[], flag: string): boolean {
  return options.some((option) => option.required && (option.short === flag || option.long === flag));
}

const yes = ["1", "true", "yes", "on"];
const no = ["0", "false", "no", "off"];

/** Of a variable that stands for a switch. */
export function saysYes(value: string | undefined): boolean {
  return value !== undefined && yes.includes(value.toLowerCase());
}

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
