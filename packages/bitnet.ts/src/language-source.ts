/**
 * What a model's tokenizer and chat template are made of, as plain data: the worker that runs a model on a page tells it, so that the page has both
 * as well. A listener stands among the load options under a name that only this package knows.
 */
import type { TemplateSource, TokenizerSource } from "@bitnet.ts/core";
import type { BitNetLoadOptions } from "./types.ts";

export interface LanguageSource {
  tokenizer: TokenizerSource;
  template: TemplateSource;
  /** The template of the model's family, where the file has none. */
  usualTemplate: "bitnet" | null;
}

export const onLanguage: unique symbol = Symbol("onLanguage");

export type ListeningOptions = BitNetLoadOptions & { [onLanguage]?: (source: LanguageSource) => void };
