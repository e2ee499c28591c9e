import { Command } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  addModelOptions,
  addSamplingOptions,
  loadOptions,
  type ModelFlags,
  type SamplingFlags,
  samplingOptions,
} from "./options.ts";

function parse(...argv: string[]): ModelFlags & SamplingFlags {
  const command = addSamplingOptions(addModelOptions(new Command("test")))
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  return command.parse(argv, { from: "user" }).opts();
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("sampling flags", () => {
  it("have the documented defaults", () => {
    expect(samplingOptions(parse())).toEqual({
      maxTokens: 256,
      temperature: 0.7,
      topK: 0,
      topP: 0.9,
      minP: 0,
      typicalP: 1,
      repeatPenalty: 1.05,
      repeatLastN: 64,
      frequencyPenalty: 0,
      presencePenalty: 0,
      dryMultiplier: 0,
      dryBase: 1.75,
      dryAllowedLength: 2,
      dryPenaltyLastN: -1,
      xtcProbability: 0,
      xtcThreshold: 0.1,
      ignoreEos: false,
    });
  });

  it("reach the library", () => {
    const flags =
      "-n -1 --temp 0 --top-k 40 --top-p 1 --min-p 0.05 --typical 0.8 --repeat-penalty 1 --repeat-last-n -1 " +
      "--frequency-penalty -0.5 --presence-penalty 0.25 --dry-multiplier 0.8 --dry-base 2 --dry-allowed-length 3 " +
      "--dry-penalty-last-n 99 --dry-sequence-breaker \\n --dry-sequence-breaker ; --xtc-probability 0.5 --xtc-threshold 0.2 " +
      "--logit-bias 3=-1 -s 7 --stop a --stop b --ignore-eos";
    expect(samplingOptions(parse(...flags.split(" ")))).toEqual({
      maxTokens: Number.MAX_SAFE_INTEGER,
      temperature: 0,
      topK: 40,
      topP: 1,
      minP: 0.05,
      typicalP: 0.8,
      repeatPenalty: 1,
      repeatLastN: -1,
      frequencyPenalty: -0.5,
      presencePenalty: 0.25,
      dryMultiplier: 0.8,
      dryBase: 2,
      dryAllowedLength: 3,
      dryPenaltyLastN: 99,
      drySequenceBreakers: ["\n", ";"],
      xtcProbability: 0.5,
      xtcThreshold: 0.2,
      logitBias: new Map([[3, -1]]),
      seed: 7,
      stop: ["a", "b"],
      ignoreEos: true,
    });
  });

  it("may ask for no sequence breakers", () => {
    expect(samplingOptions(parse("--dry-sequence-breaker", "none")).drySequenceBreakers).toEqual([]);
  });

  it("come from the environment where they are not given", () => {
    vi.stubEnv("BITNET_TEMP", "0.25");
    vi.stubEnv("BITNET_N_PREDICT", "9");
    vi.stubEnv("BITNET_LOGIT_BIAS", "1=2,3=4");
    const options = samplingOptions(parse("-n", "5"));
    expect(options).toMatchObject({ temperature: 0.25, maxTokens: 5 });
    expect(options.logitBias).toEqual(
      new Map([
        [1, 2],
        [3, 4],
      ]),
    );
  });

  it("are refused with the flag's name", () => {
    expect(() => parse("--temp", "-1")).toThrow(/--temp <t>' argument '-1' is invalid.*from 0 up/);
    vi.stubEnv("BITNET_SEED", "x");
    expect(() => parse()).toThrow(/'x' from env 'BITNET_SEED' is invalid/);
  });
});

describe("model flags", () => {
  it("say nothing that was not said", () => {
    expect(loadOptions(parse())).toEqual({ kvType: "f16", i2sLayout: "128/32" });
  });

  it("reach the library", () => {
    const flags = "-t 3 -c 64 --kv f32 --backend reference --isa avx2 --i2s-layout rows4 --screening off";
    expect(loadOptions(parse(...flags.split(" ")))).toEqual({
      threads: 3,
      contextLength: 64,
      kvType: "f32",
      backend: "reference",
      isa: "avx2",
      i2sLayout: "rows4",
      screening: false,
    });
  });

  it("list the valid names", () => {
    expect(() => parse("--isa", "avx3")).toThrow(
      /Allowed choices are scalar, avx2, avxvnni, avx512vnni, amx/,
    );
    expect(() => parse("--backend", "cuda")).toThrow(/Allowed choices are native, webgpu, wasm, reference/);
  });
});
