/** What the generating thread and the grammar thread tell each other. */
import type { GrammarSpec } from "./grammar-spec.ts";

export interface WorkerVocabulary {
  /** By id, in the byte-level alphabet; "" for control tokens. */
  readonly tokens: readonly string[];
  /** Of the logits. */
  readonly vocabSize: number;
  readonly stopIds: readonly number[];
}

export type ToWorker =
  | { readonly type: "start"; readonly vocabulary: WorkerVocabulary }
  | { readonly type: "compile"; readonly id: number; readonly key: string; readonly spec: GrammarSpec }
  | {
      readonly type: "open";
      readonly key: string;
      readonly matcher: number;
      /** Where masks are written; null: they are sent. */
      readonly shared: SharedArrayBuffer | null;
    }
  | { readonly type: "accept"; readonly matcher: number; readonly token: number }
  | { readonly type: "close"; readonly matcher: number }
  | { readonly type: "drop"; readonly key: string };

export type FromWorker =
  /** The compiler is there, or why not. */
  | { readonly type: "started"; readonly error: string | null }
  | { readonly type: "compiled"; readonly id: number; readonly error: string | null }
  /** The next mask; null when the grammar does not take the token. */
  | { readonly type: "mask"; readonly matcher: number; readonly bits: Uint32Array<ArrayBuffer> | null };

/** Shared memory of a matcher, 32-bit words: masks written so far, state, then the mask. */
export const maskHeader = 2;
export const maskState = { good: 0, failed: 1 } as const;
