/** The options of one generation with their defaults, and what they become once checked (parse-options.ts). */
import type { TokenMask } from "./mask.ts";
import type { ThinkingMarks } from "./thinking.ts";

export interface SamplingOptions {
  /** Divides the logits; 0 takes the highest logit. Default 0.7. */
  temperature?: number;
  /** Keeps the k highest; 0 = all. Default 0. */
  topK?: number;
  /** Keeps the shortest ranking whose probability reaches this; in (0, 1], 1 = all. Default 0.9. */
  topP?: number;
  /** Keeps tokens at least this probable relative to the best one; in [0, 1], 0 = all. Default 0. */
  minP?: number;
  /** Keeps the tokens nearest to the expected log-probability until their sum reaches this; in (0, 1], 1 = all. Default 1. */
  typicalP?: number;
  /** Divides positive and multiplies negative logits of tokens seen in the window; 1 = off. Default 1.05. */
  repeatPenalty?: number;
  /** The window of all three penalties: so many last tokens, the prompt's included; 0 = off, −1 = all. Default 64. */
  repeatLastN?: number;
  /** Subtracted from a logit for every occurrence in the window. Default 0. */
  frequencyPenalty?: number;
  /** Subtracted once when the token occurs in the window. Default 0. */
  presencePenalty?: number;
  /** DRY: what a token that continues a repetition loses is this · dryBase ^ (its length − dryAllowedLength); 0 = off. Default 0. */
  dryMultiplier?: number;
  /** From 1 up. Default 1.75. */
  dryBase?: number;
  /** Tokens that may be repeated without a penalty. Default 2. */
  dryAllowedLength?: number;
  /** Where repetitions are looked for: so many last tokens, the prompt's included; 0 = off, −1 = all. Default −1. */
  dryPenaltyLastN?: number;
  /** Texts that repetitions do not reach across. Default line break, colon, quotation mark and asterisk. */
  drySequenceBreakers?: readonly string[];
  /** XTC: how likely it is, at each token, that all but the last of the tokens above `xtcThreshold` are left out; in [0, 1], 0 = off. Default 0. */
  xtcProbability?: number;
  /** In [0, 1]; above 0.5 = off, since no two tokens can reach it. Default 0.1. */
  xtcThreshold?: number;
  /** Added to the logits of these ids; −Infinity forbids a token. */
  logitBias?: ReadonlyMap<number, number> | Readonly<Record<string, number>>;
  /** Unsigned 32-bit; the same seed gives the same text whatever else runs. Drawn at random when absent, and reported. */
  seed?: number;
  /** Tells several answers to one prompt apart that share a seed. Default 0. */
  choice?: number;
}

/** How much of a prompt has been read; tokens. */
export interface PromptProgress {
  /** So many of `total`, those from the cache among them; `total` is told exactly once, at the end. */
  read: number;
  /** Of them so many were known, and cost nothing. */
  cached: number;
  total: number;
}

export interface GenerateOptions extends SamplingOptions {
  /** The most tokens to generate; fewer fit where the context ends first. 0 only processes the prompt. Default 256. */
  maxTokens?: number;
  /** Texts that end the generation; they are not part of its text. */
  stop?: string | readonly string[];
  /** Tokens that end the generation. */
  stopTokens?: readonly number[];
  /** Never sample an end-of-sequence token. Default false. */
  ignoreEos?: boolean;
  /** Report the log-probability of every generated token and of so many best ones (0: only its own). */
  logprobs?: number;
  /** The same for the tokens of the prompt. */
  promptLogprobs?: number;
  /** Report those only from this token of the prompt on, so that what stands before may come from the cache. Default 1, the second. */
  promptLogprobsFrom?: number;
  /** Show special tokens in the text. Default false. */
  special?: boolean;
  /** The marks between which the model thinks, as `encodeChat` gives them: pieces then say which channel they belong to. */
  thinking?: ThinkingMarks | null;
  /** The most tokens to think, for `thinking`: then the closing mark is forced. Default: no limit. */
  thinkingBudget?: number;
  /** Which tokens may come next, such as a grammar decides. Belongs to this generation and is disposed with it. */
  mask?: TokenMask;
  /** Prefixes are shared in the cache only among generations of equal salt, so that one tenant cannot time another's. Default "". */
  cacheSalt?: string;
  /** It has time: while others run, it takes part in every fourth step only, and gives its memory up to them. The text is the same. Default false. */
  background?: boolean;
  /** The adapter to generate with, by the name that it was loaded under; null: the model alone, which is the default. */
  adapter?: string | null;
  /** Told after each step that has read some of the prompt, so that a long one can be followed. What it throws fails the generation. */
  onPrompt?: (progress: PromptProgress) => void;
  signal?: AbortSignal;
}

/** Checked options. Numbers that take part in f32 arithmetic are f32 values. */
export interface SamplingSettings {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  typicalP: number;
  repeatPenalty: number;
  repeatLastN: number;
  frequencyPenalty: number;
  presencePenalty: number;
  dryMultiplier: number;
  dryBase: number;
  dryAllowedLength: number;
  dryPenaltyLastN: number;
  drySequenceBreakers: readonly string[];
  xtcProbability: number;
  xtcThreshold: number;
  logitBias: ReadonlyMap<number, number>;
  seed: number;
  choice: number;
}

export interface GenerateSettings {
  sampling: SamplingSettings;
  maxTokens: number;
  stop: readonly string[];
  stopTokens: ReadonlySet<number>;
  ignoreEos: boolean;
  logprobs: number | null;
  promptLogprobs: number | null;
  promptLogprobsFrom: number;
  special: boolean;
  thinking: ThinkingMarks | null;
  thinkingBudget: number | null;
  mask: TokenMask | null;
  cacheSalt: string;
  background: boolean;
  adapter: string | null;
  onPrompt: ((progress: PromptProgress) => void) | null;
  signal: AbortSignal | null;
}
