/** One answer that is to be generated. */
import type { Grammar, GrammarSpec } from "@bitnet.ts/grammar";
import type { GenerateOptions } from "bitnet.ts";

export interface AnswerPlan {
  readonly ids: Int32Array;
  readonly options: GenerateOptions;
  /** What the answer must look like, and what was compiled of that. */
  readonly form?: GrammarSpec;
  readonly grammar?: Grammar;
  /** Whether the client has given the seed; absent: there is none but the client's. */
  readonly hasSeed?: boolean;
}
