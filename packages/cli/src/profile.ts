/** The profile that the flags name, for a model: what `serve` then runs with, and what `doctor` shows. */
import { availableParallelism } from "node:os";
import { type ProfileName, type ProfilePlan, planProfile, profileNames } from "@bitnet.ts/server";
import { availableMemory, type BitNetLoadOptions, measureModel } from "bitnet.ts";
import type { Option } from "commander";
import { loadOptions, type ModelFlags, option } from "./options.ts";

export function profileOption(): Option {
  return option(
    "--profile <name>",
    "settings for a kind of machine, computed from the model's bytes; other flags win",
  ).choices(profileNames);
}

/** Flags that were given; absent ones are the profile's to choose. */
interface GivenFlags extends Omit<ModelFlags, "model"> {
  memoryLimit?: number;
  parallel?: number;
}

type Adapters = BitNetLoadOptions["adapters"];

/** @param placed The model's adapters; default: those of the flags. @throws BitNetError OUT_OF_MEMORY with the arithmetic. */
export async function planFor(
  name: ProfileName,
  source: string,
  flags: GivenFlags,
  placed?: Adapters,
): Promise<ProfilePlan> {
  const { kvType, screening, i2sLayout, adapters: given } = loadOptions(flags);
  const adapters = placed ?? given;
  const model = await measureModel(source, {
    ...(kvType === undefined ? {} : { kvType }),
    ...(i2sLayout === undefined ? {} : { i2sLayout }),
    ...(screening === undefined ? {} : { screening }),
    ...(adapters === undefined ? {} : { adapters }),
  });
  return planProfile(name, model, {
    cores: availableParallelism(),
    machineBytes: availableMemory(),
    ...(flags.memoryLimit === undefined ? {} : { memoryBytes: flags.memoryLimit }),
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    ...(flags.ctxSize === undefined ? {} : { contextLength: flags.ctxSize }),
    ...(flags.parallel === undefined ? {} : { parallel: flags.parallel }),
  });
}

/** What to load the model with. */
export function plannedOptions({
  threads,
  contextLength,
  cacheTokens,
  screening,
}: ProfilePlan): BitNetLoadOptions {
  return { threads, contextLength, cacheTokens, ...(screening ? {} : { screening }) };
}
