/** Loads the model that the flags name, with a progress bar, and says which model it was when that fails. */
import { existsSync } from "node:fs";
import { BitNetError } from "@bitnet.ts/core";
import { BitNet, type BitNetLoadOptions, embeddedModelPath } from "bitnet.ts";
import { loadOptions, type ModelFlags } from "./options.ts";
import { localSource } from "./pull-model.ts";
import type { Session } from "./session.ts";
import { startProgress } from "./terminal.ts";

/** The embedded model where none is named, or "tiny", which a file of that name wins over. */
export function modelSource({ model }: { model?: string }): string {
  return model === undefined || (model === "tiny" && !existsSync(model)) ? embeddedModelPath() : model;
}

/**
 * The caller disposes the model.
 * @param extra Options that win over the flags.
 * @throws BitNetError whatever loading ends in, its message starting with the model's name.
 */
export async function loadModel(
  flags: ModelFlags,
  session: Session,
  signal = session.signal,
  extra: BitNetLoadOptions = {},
): Promise<BitNet> {
  const source = await localSource(modelSource(flags), session, signal);
  const progress = startProgress("Loading");
  try {
    return await BitNet.load(source, {
      ...loadOptions(flags),
      ...extra,
      onProgress: progress.update,
      onNotice: session.note,
      signal,
    });
  } catch (error) {
    throw namingSource(error, source);
  } finally {
    progress.end();
  }
}

/** Errors about the contents of a file often speak of the place in it only. */
export function namingSource(error: unknown, source: string): unknown {
  if (!(error instanceof BitNetError) || error.message.includes(source)) return error;
  if (!/^(FORMAT|MODEL|TOKENIZER|IO)_/.test(error.code)) return error;
  return new BitNetError(error.code, `${source}: ${error.message}`, { cause: error, details: error.details });
}
