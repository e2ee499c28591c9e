/**
 * Which logits a request changes, and how: penalties for tokens seen in a window of the last tokens, biases, and DRY. Every
 * operation in f32, in the order of docs/numerics.md, "Samplers".
 */
import type { DrawWant } from "../backend/step.ts";
import { Dry, hasDry } from "./dry.ts";
import { noBreakers, type SequenceBreakers } from "./dry-breakers.ts";
import type { SamplingSettings } from "./options.ts";

const f32 = Math.fround;
const largestF32 = 3.4028234663852886e38;

export class Penalties {
  readonly #settings: SamplingSettings;
  /** The window as a ring, the oldest token at `#oldest` once it is full; null: everything counts. */
  readonly #ring: Int32Array | null;
  #filled = 0;
  #oldest = 0;
  /** How often each token stands in the window; empty while no penalty is on. */
  readonly #counts = new Map<number, number>();
  readonly #isOn: boolean;
  readonly #dry: Dry | null;
  /** What DRY takes from logits of the next token; from `touched`. */
  #repeating: ReadonlyMap<number, number> = new Map();

  /** @param contextLength Bounds the window. */
  constructor(settings: SamplingSettings, contextLength: number, breakers: SequenceBreakers = noBreakers) {
    this.#settings = settings;
    this.#dry = hasDry(settings) ? new Dry(settings, breakers) : null;
    const { repeatPenalty, frequencyPenalty, presencePenalty, repeatLastN } = settings;
    this.#isOn =
      repeatLastN !== 0 && (repeatPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0);
    this.#ring =
      repeatLastN < 0 ? null : new Int32Array(this.#isOn ? Math.min(repeatLastN, contextLength) : 0);
  }

  get hasDry(): boolean {
    return this.#dry !== null;
  }

  /** Whether logits change otherwise than by tokens that are forbidden always. */
  get addToLogits(): boolean {
    const biases = [...this.#settings.logitBias.values()];
    return this.#isOn || this.hasDry || biases.some((bias) => bias !== Number.NEGATIVE_INFINITY);
  }

  /**
   * The tokens that leave the window as each of the next `most` enters it; −1: none. As many as are known before those have been chosen.
   */
  leaving(most: number): Int32Array {
    const ring = this.#ring;
    if (!this.#isOn || ring === null) return new Int32Array(most).fill(-1);
    const room = ring.length - this.#filled;
    return Int32Array.from({ length: Math.min(most, ring.length) }, (_, i) =>
      i < room ? -1 : (ring[(this.#oldest + i - room) % ring.length] ?? -1),
    );
  }

  /** Takes the next token of the context into the window. */
  see(token: number): void {
    this.#dry?.see(token);
    if (!this.#isOn) return;
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1);
    const ring = this.#ring;
    if (ring === null) return;
    if (this.#filled < ring.length) {
      ring[this.#filled++] = token;
      return;
    }
    this.#forget(ring[this.#oldest] ?? 0);
    ring[this.#oldest] = token;
    this.#oldest = (this.#oldest + 1) % ring.length;
  }

  #forget(token: number): void {
    const count = (this.#counts.get(token) ?? 0) - 1;
    if (count > 0) this.#counts.set(token, count);
    else this.#counts.delete(token);
  }

  /** Ids whose logits `apply` changes, for the token that comes next. Distinct. */
  touched(): Int32Array {
    if (this.#dry !== null) this.#repeating = this.#dry.penalties();
    const ids = new Set(this.#counts.keys());
    for (const id of this.#settings.logitBias.keys()) ids.add(id);
    for (const id of this.#repeating.keys()) ids.add(id);
    return Int32Array.from(ids);
  }

  /** What `apply` does, as data; `ids` from `touched`. */
  describe(ids: Int32Array): Pick<DrawWant, "penalties" | "counts" | "biases"> {
    const { repeatPenalty, frequencyPenalty, presencePenalty } = this.#settings;
    const penalties = this.#isOn
      ? { repeat: repeatPenalty, frequency: frequencyPenalty, presence: presencePenalty }
      : { repeat: 1, frequency: 0, presence: 0 };
    return {
      penalties,
      counts: ids.map((id) => this.#counts.get(id) ?? 0),
      biases: Float32Array.from(ids, (id) => this.#bias(id)),
    };
  }

  /** The bias less what DRY takes. */
  #bias(id: number): number {
    const bias = this.#settings.logitBias.get(id) ?? 0;
    const repeating = this.#repeating.get(id);
    if (repeating === undefined || bias === Number.NEGATIVE_INFINITY) return bias;
    return Math.max(f32(bias - repeating), -largestF32);
  }

  /** The logit after penalties and bias: −Infinity when forbidden, else within ± the largest f32. */
  apply(id: number, logit: number): number {
    const { repeatPenalty, frequencyPenalty, presencePenalty } = this.#settings;
    const bias = this.#bias(id);
    if (bias === Number.NEGATIVE_INFINITY) return bias;
    const count = this.#counts.get(id) ?? 0;
    let changed = logit;
    if (count > 0) {
      changed = f32(changed > 0 ? changed / repeatPenalty : changed * repeatPenalty);
      changed = f32(f32(changed - f32(count * frequencyPenalty)) - presencePenalty);
    }
    changed = f32(changed + bias);
    // Opposite infinities give NaN; both comparisons leave it, and it ends at the lower bound.
    if (changed >= largestF32) return largestF32;
    return changed > -largestF32 ? changed : -largestF32;
  }
}
