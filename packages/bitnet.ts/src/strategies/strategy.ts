/**
 * A strategy is one way to run a model on this machine: an engine of ours, another program, a library of the user's project, or a server.
 * Each looks whether it could run here, brings the model up, and generates; judging what comes out is examine.ts's.
 */

export interface StrategyOptions {
  /** The model: a GGUF file or a folder. */
  model: string;
  /** Program or server of bitnet.cpp: a path or a URL. */
  bitnetCpp?: string;
  /** A model that Transformers.js knows: a name or a folder. */
  transformers?: string;
  /** The same model as an ONNX file without a cache of keys and values. */
  onnx?: string;
  /** Base of an OpenAI-like API, such as http://127.0.0.1:8080/v1. */
  endpoint?: string;
  /** Name of the model there. */
  endpointModel?: string;
  endpointKey?: string;
  /** Folder whose node_modules hold the libraries of others; default: the working folder. */
  project?: string;
  threads?: number;
  /** Names of the strategies to try; default: all. */
  only?: readonly string[];
  /** The longest that one generation, or bringing up a model, may take. Default 60 s. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface EnvironmentCheck {
  isAvailable: boolean;
  /** What there is, or what is missing and how to get it. */
  detail: string;
}

export interface GenerateRequest {
  prompt: string;
  maxTokens: number;
  signal: AbortSignal;
  /** To be called when the first piece of text is there, by those that hand out pieces. */
  onText(): void;
}

export interface StrategyText {
  text: string;
  /** What the engine says of its own speed, which is shown and never believed; null: nothing. */
  saidTokensPerSecond: number | null;
}

export interface Deployment {
  detail: string;
  /** Greedy. */
  generate(request: GenerateRequest): Promise<StrategyText>;
  /** Bytes of private memory and of mapped weights, where it can be known. */
  memoryBytes(): number | null;
  dispose(): Promise<void>;
}

export interface Strategy {
  readonly name: string;
  /** "model": runs the model that is asked for, so that its text can be compared; "other": one of its own. */
  readonly runs: "model" | "other";
  /** Whether several texts may be generated at once. */
  readonly isParallel: boolean;
  check(options: StrategyOptions): Promise<EnvironmentCheck>;
  deploy(options: StrategyOptions, signal: AbortSignal): Promise<Deployment>;
}

/**
 * "equal": the texts of the reference, to the letter. "alike": they begin as those do for at least half their length and are at most twice as
 * long, which is what other arithmetic can be held to. "answers": another model, which says the same twice, and something else to another
 * prompt. "wrong": none of these, in any of its texts. "failed": no text came.
 */
export type StrategyVerdict = "equal" | "alike" | "answers" | "wrong" | "failed" | "unavailable";

export interface StrategyReport {
  name: string;
  verdict: StrategyVerdict;
  /** What is used, or why it cannot be, or what went wrong. */
  detail: string;
  text: string | null;
  /** Bringing the model up. */
  loadMs: number | null;
  /** From the request to the first text that arrived; null where texts come whole. */
  firstTokenMs: number | null;
  /** By our clock, from the request to the end, in tokens of the examined model's tokenizer; no more of them than were asked for. */
  tokensPerSecond: number | null;
  /** Of four texts at once; null where one at a time is all it does. */
  parallelTokensPerSecond: number | null;
  memoryBytes: number | null;
}

export function unavailable(detail: string): EnvironmentCheck {
  return { isAvailable: false, detail };
}

export function available(detail: string): EnvironmentCheck {
  return { isAvailable: true, detail };
}
