/**
 * The flags that several commands share, and what they mean to the library. Every flag is also an environment variable
 * BITNET_…; flags win.
 */
import { basename } from "node:path";
import {
  type BackendName,
  BitNetError,
  type I2sLayout,
  type Isa,
  type KvType,
  suggestion,
} from "@bitnet.ts/core";
import type { BitNetLoadOptions, GenerateOptions } from "bitnet.ts";
import { type Command, Option } from "commander";
import {
  collect,
  parseFraction,
  parseInteger,
  parseLogitBias,
  parseNumber,
  parseNumberFrom,
  parsePositive,
  parseShare,
} from "./values.ts";

const backends: readonly BackendName[] = ["native", "webgpu", "wasm", "reference"];
/** As an object, so that the compiler notices a missing name. */
const isas: Readonly<Record<Isa, true>> = {
  scalar: true,
  avx2: true,
  avxvnni: true,
  avx512vnni: true,
  amx: true,
  "neon-dotprod": true,
  "neon-i8mm": true,
  "wasm-i32-madd": true,
  "wasm-i16-madd": true,
  "wasm-plain-madd": true,
  "wasm-i32-exact": true,
  "wasm-i16-exact": true,
  "wasm-plain-exact": true,
  "wgsl-dot4": true,
  "wgsl-plain": true,
};
const kvTypes: readonly KvType[] = ["f16", "f32"];
const i2sLayouts: readonly I2sLayout[] = ["128/32", "64/16", "rows4"];

/** An option with its environment variable: `--top-k` is BITNET_TOP_K. */
export function option(flags: string, description: string, variable?: string): Option {
  const made = new Option(flags, description);
  const name = variable ?? (made.long ?? "").replace(/^--/, "").replaceAll("-", "_").toUpperCase();
  return made.env(`BITNET_${name}`);
}

type Activations = NonNullable<BitNetLoadOptions["activations"]>;

export interface ModelFlags {
  model?: string;
  threads?: number;
  ctxSize?: number;
  kv: KvType;
  screening: "on" | "off";
  activations: Activations;
  backend?: BackendName;
  isa?: Isa;
  i2sLayout: I2sLayout;
  adapter?: string[];
}

export function modelOption(
  what = "GGUF file, Hugging Face folder, URL of either, hf:owner/name, or a short name (default: the embedded model)",
): Option {
  return option("-m, --model <path>", what);
}

export function i2sLayoutOption(): Option {
  return option("--i2s-layout <layout>", "layout of I2_S tensors; published files are 128/32")
    .choices(i2sLayouts)
    .default("128/32");
}

export function jsonOption(what: string): Option {
  return option("--json", `print ${what} as one JSON object`);
}

interface ModelDefaults {
  /** The option that names the model, where a command takes several. */
  model?: Option;
  kv?: KvType;
}

export function addModelOptions(
  command: Command,
  { model = modelOption(), kv = "f16" }: ModelDefaults = {},
): Command {
  return command
    .addOption(model)
    .addOption(
      option("-t, --threads <n>", "compute threads (default: the cores available to the process)").argParser(
        parseInteger(1, 1024),
      ),
    )
    .addOption(
      option(
        "-c, --ctx-size <tokens>",
        "tokens of context (default: what the model was trained with, at most 32768)",
      ).argParser(parseInteger(1)),
    )
    .addOption(option("--kv <type>", "type of the key/value cache").choices(kvTypes).default(kv))
    .addOption(
      option("--screening <switch>", "find candidates in an int8 copy of the head; texts are the same")
        .choices(["on", "off"])
        .default("on"),
    )
    .addOption(
      option(
        "--activations <type>",
        "int8: rounded as the file tells; int8-token, int8-groups: for a whole token, or for each 128 columns, whatever it tells; " +
          "f32: not rounded, with --backend reference only, to compare",
      )
        .choices(["int8", "int8-token", "int8-groups", "f32"] satisfies Activations[])
        .default("int8"),
    )
    .addOption(
      option(
        "--backend <name>",
        "force a backend (default: native where it runs, else webgpu on a GPU, else wasm)",
      ).choices(backends),
    )
    .addOption(
      option("--isa <name>", "force an instruction set (default: the best that proves itself)").choices(
        Object.keys(isas),
      ),
    )
    .addOption(i2sLayoutOption())
    .addOption(
      option(
        "--adapter <[name=]path>",
        "LoRA adapter: a PEFT folder or a GGUF file; of several the first is used unless a request names another",
      ).argParser(collect),
    );
}

/** Names are given, or those of the files. */
function adapterOptions(given: readonly string[]): Pick<BitNetLoadOptions, "adapters" | "adapter"> {
  const named = given.map((text) => {
    const match = /^([\w.-]+)=(.+)$/s.exec(text);
    const path = match?.[2] ?? text;
    return [match?.[1] ?? basename(path.replace(/[/\\]+$/, "")).replace(/\.gguf$/i, ""), path] as const;
  });
  const adapters = Object.fromEntries(named);
  if (Object.keys(adapters).length < named.length)
    throw new BitNetError(
      "INVALID_ARGUMENT",
      "--adapter: two adapters have the same name; give them as name=path",
    );
  return { adapters, adapter: named[0]?.[0] ?? "" };
}

/** What the library is told of the flags; nothing for those that were not given. */
export function loadOptions(flags: ModelFlags): BitNetLoadOptions {
  return {
    kvType: flags.kv,
    i2sLayout: flags.i2sLayout,
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    ...(flags.ctxSize === undefined ? {} : { contextLength: flags.ctxSize }),
    ...(flags.backend === undefined ? {} : { backend: flags.backend }),
    ...(flags.isa === undefined ? {} : { isa: flags.isa }),
    ...(flags.screening === "off" ? { screening: false } : {}),
    ...(flags.activations === "int8" ? {} : { activations: flags.activations }),
    ...(flags.adapter === undefined ? {} : adapterOptions(flags.adapter)),
  };
}

export interface SamplingFlags {
  nPredict: number;
  temp: number;
  topK: number;
  topP: number;
  minP: number;
  typical: number;
  repeatPenalty: number;
  repeatLastN: number;
  frequencyPenalty: number;
  presencePenalty: number;
  dryMultiplier: number;
  dryBase: number;
  dryAllowedLength: number;
  dryPenaltyLastN: number;
  drySequenceBreaker?: readonly string[];
  xtcProbability: number;
  xtcThreshold: number;
  logitBias?: ReadonlyMap<number, number>;
  seed?: number;
  stop?: readonly string[];
  ignoreEos?: boolean;
}

/** @param nPredict Tokens to generate at most where nobody says. */
export function addSamplingOptions(command: Command, { nPredict = 256 } = {}): Command {
  for (const each of samplingFlags(nPredict)) command.addOption(each);
  return command;
}

function samplingFlags(nPredict: number): Option[] {
  return [
    option("-n, --n-predict <n>", "tokens to generate at most; -1: until the context is full")
      .argParser(parseInteger(-1))
      .default(nPredict),
    option("--temp <t>", "temperature; 0 always takes the most probable token")
      .argParser(parseNumberFrom(0))
      .default(0.7),
    option("--top-k <k>", "keep the k most probable tokens; 0: all").argParser(parseInteger(0)).default(0),
    option("--top-p <p>", "keep the most probable tokens up to this sum; 1: all")
      .argParser(parseShare)
      .default(0.9),
    option("--min-p <p>", "keep tokens at least this probable relative to the best; 0: all")
      .argParser(parseFraction)
      .default(0),
    option("--typical <p>", "keep the most typical tokens up to this sum; 1: all")
      .argParser(parseShare)
      .default(1),
    option("--repeat-penalty <x>", "penalty on tokens of the window; 1: none")
      .argParser(parsePositive)
      .default(1.05),
    option("--repeat-last-n <n>", "window of the penalties in tokens; 0: none, -1: all")
      .argParser(parseInteger(-1))
      .default(64),
    option("--frequency-penalty <x>", "subtracted from a logit per occurrence in the window")
      .argParser(parseNumber)
      .default(0),
    option("--presence-penalty <x>", "subtracted from a logit when the token is in the window")
      .argParser(parseNumber)
      .default(0),
    option("--dry-multiplier <x>", "DRY: penalty on tokens that continue a repetition; 0: none")
      .argParser(parseNumberFrom(0))
      .default(0),
    option("--dry-base <x>", "what it is multiplied with for every further token of the repetition")
      .argParser(parseNumberFrom(1))
      .default(1.75),
    option("--dry-allowed-length <n>", "tokens that may be repeated without it")
      .argParser(parseInteger(0))
      .default(2),
    option("--dry-penalty-last-n <n>", "window of repetitions in tokens; 0: none, -1: all")
      .argParser(parseInteger(-1))
      .default(-1),
    option(
      "--dry-sequence-breaker <text>",
      "text that repetitions do not reach across, \\n for a line break; repeatable, instead of the usual ones; none: no text",
    ).argParser(collect),
    option("--xtc-probability <p>", "XTC: how often the most probable tokens are left out; 0: never")
      .argParser(parseFraction)
      .default(0),
    option("--xtc-threshold <p>", "tokens this probable are left out, all but the last")
      .argParser(parseFraction)
      .default(0.1),
    option(
      "--logit-bias <id=value>",
      "add to the logit of a token, -inf forbids it; repeatable, or separated by commas",
    ).argParser(parseLogitBias),
    option("-s, --seed <n>", "seed of the sampling noise; -1: random (default: random)").argParser(
      parseInteger(-1, 2 ** 32 - 1),
    ),
    option("--stop <text>", "end before this text; repeatable").argParser(collect),
    option("--ignore-eos", "never end at an end-of-text token"),
  ];
}

/**
 * Changes a setting of the sampler by the name of its flag.
 * @param text `temp 0.2`; empty to list what there is.
 * @returns A line that says what it is now.
 * @throws BitNetError INVALID_ARGUMENT.
 */
export function setSampling(flags: SamplingFlags, text: string): string {
  const options = samplingFlags(256).filter(({ required }) => required);
  const values = flags as unknown as Record<string, unknown>;
  const [name = "", ...rest] = text.split(/\s+/);
  if (name === "")
    return options
      .map((each) => `${nameOf(each).padEnd(18)} ${showValue(values[each.attributeName()])}`)
      .join("\n");
  const found = options.find((each) => nameOf(each) === name.replace(/^-+/, "").replaceAll("_", "-"));
  if (found === undefined) {
    const names = options.map(nameOf);
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `${name}: no such setting${suggestion(name, names)}; /set lists them`,
    );
  }
  try {
    values[found.attributeName()] = found.parseArg?.(rest.join(" "), undefined);
  } catch (error) {
    throw new BitNetError("INVALID_ARGUMENT", `${name}: ${(error as Error).message}`);
  }
  return `${nameOf(found)} is ${showValue(values[found.attributeName()])}`;
}

function nameOf({ long }: Option): string {
  return (long ?? "").replace(/^--/, "");
}

function showValue(value: unknown): string {
  if (value === undefined) return "not set";
  if (value instanceof Map) return [...value].map(([id, bias]) => `${id}=${bias}`).join(",");
  return Array.isArray(value) ? JSON.stringify(value) : String(value);
}

export function samplingOptions(flags: SamplingFlags): GenerateOptions {
  return {
    maxTokens: flags.nPredict < 0 ? Number.MAX_SAFE_INTEGER : flags.nPredict,
    temperature: flags.temp,
    topK: flags.topK,
    topP: flags.topP,
    minP: flags.minP,
    typicalP: flags.typical,
    repeatPenalty: flags.repeatPenalty,
    repeatLastN: flags.repeatLastN,
    frequencyPenalty: flags.frequencyPenalty,
    presencePenalty: flags.presencePenalty,
    dryMultiplier: flags.dryMultiplier,
    dryBase: flags.dryBase,
    dryAllowedLength: flags.dryAllowedLength,
    dryPenaltyLastN: flags.dryPenaltyLastN,
    xtcProbability: flags.xtcProbability,
    xtcThreshold: flags.xtcThreshold,
    ...breakerOptions(flags.drySequenceBreaker),
    ignoreEos: flags.ignoreEos === true,
    ...(flags.logitBias === undefined ? {} : { logitBias: flags.logitBias }),
    ...(flags.seed === undefined || flags.seed < 0 ? {} : { seed: flags.seed }),
    ...(flags.stop === undefined ? {} : { stop: flags.stop }),
  };
}

/** As llama.cpp reads them: "none" stands for no text. */
function breakerOptions(texts: readonly string[] | undefined): GenerateOptions {
  if (texts === undefined) return {};
  const drySequenceBreakers = texts
    .filter((text) => text !== "none")
    .map((text) => text.replaceAll("\\n", "\n"));
  return { drySequenceBreakers };
}
