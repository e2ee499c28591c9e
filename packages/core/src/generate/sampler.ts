/**
 * Chooses tokens. It asks the head only for what the choice needs (a winner, a few candidates, or all logits) and gives the
 * same token as the same filters on all logits would. Knows nothing of text or scheduling.
 */

import type { HeadRequest, HeadResult, HeadWant, HeadWantKind } from "../backend/step.ts";
import { logF32 } from "../base/elementary.ts";
import { BitNetError } from "../base/errors.ts";
import { showValue } from "../base/show-value.ts";
import { beginningOf, drawFromAll, drawFromRanking } from "./draw-here.ts";
import { noBreakers, type SequenceBreakers } from "./dry-breakers.ts";
import { Draw, xtcActs } from "./filters.ts";
import { isAllowed } from "./mask.ts";
import { drawNucleus } from "./nucleus.ts";
import type { SamplingSettings } from "./options.ts";
import { Penalties } from "./penalties.ts";
import { type Ranking, RankingBuilder } from "./ranking.ts";

export interface SamplerLimits {
  vocabSize: number;
  contextLength: number;
  /** What the head is good for; default: everything. */
  wants?: readonly HeadWantKind[];
  /** Tokens that may be found without asking in between; default 1. */
  mostChained?: number;
}

/** The most candidates that are filtered here where the head can do it. */
const mostCandidates = 1024;

/** The most tokens for which all logits are asked without trying with less. */
const longestImpatience = 64;

export class Sampler {
  readonly #settings: SamplingSettings;
  readonly #limits: SamplerLimits;
  readonly #nReported: number | null;
  readonly #penalties: Penalties;
  /** Of the last request: ids whose logits change, and whether all logits were asked for. */
  #touched: Int32Array = new Int32Array();
  /** Of the last request: a copy of the allowed tokens; null: all. */
  #allowed: Uint32Array | null = null;
  #asked: HeadWant["kind"] = "all";
  /** The next request has to ask for everything: the answer to the last one left the choice open. */
  #isOpen = false;
  /** Tokens for which all logits are asked straight away, and for how many after the next open choice. */
  #nAll = 0;
  #nextAll = 1;
  /** Whether the last request's token is one that XTC acts on. */
  #isXtc = false;

  /**
   * @param nReported How many best log-probabilities are reported besides the token's own; null: none at all.
   * @param breakers What DRY's repetitions do not reach across.
   */
  constructor(
    settings: SamplingSettings,
    limits: SamplerLimits,
    nReported: number | null,
    breakers: SequenceBreakers = noBreakers,
  ) {
    this.#settings = settings;
    this.#limits = limits;
    this.#nReported = nReported;
    this.#penalties = new Penalties(settings, limits.contextLength, breakers);
  }

  /** Takes the next token of the context, prompt or generated, into the window of the penalties. */
  see(token: number): void {
    this.#penalties.see(token);
  }

  /**
   * How many tokens may follow from the next `request` without another: those of a chain (backend.ts), which finds the highest logit of the same ids each
   * time, or draws with the same settings. 1 where something has to be seen of every token.
   */
  get nForeseen(): number {
    const { mostChained = 1 } = this.#limits;
    const { temperature, xtcProbability } = this.#settings;
    if (this.#nReported !== null || this.#penalties.hasDry || xtcProbability > 0) return 1;
    if (temperature === 0 && !this.#penalties.addToLogits) return mostChained;
    return this.#drawsChains ? 1 + this.#penalties.leaving(mostChained - 1).length : 1;
  }

  get #drawsChains(): boolean {
    return (this.#limits.mostChained ?? 1) > 1 && this.#offers("draw");
  }

  /**
   * What to ask of `row` for the generated token number `index`.
   * @param allowed Bit set of the tokens that may be chosen; null: all.
   */
  request(row: number, index: number, allowed: Uint32Array | null = null): HeadRequest {
    this.#allowed = allowed === null ? null : this.#checkedMask(allowed);
    this.#touched = this.#penalties.touched();
    const { seed, choice } = this.#settings;
    this.#isXtc = xtcActs(this.#settings, { seed, choice, index });
    const want = this.#want(index);
    this.#asked = want.kind;
    return {
      row,
      want,
      ...(this.#touched.length > 0 && want.kind !== "all" ? { apart: this.#touched } : {}),
      ...(this.#allowed !== null && want.kind !== "all" ? { allow: this.#allowed } : {}),
      ...(this.#nReported === null ? {} : { logSumExp: true }),
    };
  }

  /**
   * The token, given the answer to the last `request`. Null when that leaves it open: then `request` once more, which settles it.
   * @throws BitNetError INVALID_ARGUMENT when biases forbid every token.
   */
  choose(result: HeadResult, index: number): number | null {
    const { temperature, seed, choice } = this.#settings;
    this.#isOpen = false;
    if (this.#asked === "draw") return this.#checked(result.ids[0] ?? -1);
    if (this.#asked === "all") return this.#checked(this.#draw(result, index));
    if (temperature === 0) return this.#checked(this.#best(result));
    if (this.#asked !== "mass") return this.#checked(this.#draw(result, index));
    const draw = new Draw(temperature, { seed, choice, index });
    this.#isOpen = !this.#drawFromMass(result, draw);
    this.#notePatience();
    return this.#isOpen ? null : this.#checked(draw.id);
  }

  /** A copy of what a mask gave. */
  #checkedMask(allowed: Uint32Array): Uint32Array {
    const nWords = Math.ceil(this.#limits.vocabSize / 32);
    if (allowed instanceof Uint32Array && allowed.length === nWords) return allowed.slice();
    const found = allowed instanceof Uint32Array ? `${allowed.length} words` : showValue(allowed);
    throw new BitNetError(
      "INVALID_ARGUMENT",
      `mask: allowed() gave ${found}, expected a Uint32Array of ${nWords} words`,
    );
  }

  #checked(id: number): number {
    if (id < 0)
      throw new BitNetError(
        "INVALID_ARGUMENT",
        "every token is forbidden by logitBias or the mask, none can be chosen",
      );
    return id;
  }

  #want(index: number): HeadWant {
    const { temperature, topK, topP, minP, typicalP, seed, choice } = this.#settings;
    const { vocabSize } = this.#limits;
    const nReported = this.#nReported ?? 0;
    const top = (k: number): HeadWant => ({ kind: "top", k: Math.min(Math.max(k, nReported), vocabSize) });
    // The best tokens are reported whether they are allowed or not.
    if (this.#allowed !== null && nReported > 0) return this.#whole(index);
    if (temperature === 0)
      return this.#drawsChains && this.#penalties.addToLogits ? this.#whole(index) : top(1);
    if (topK > 0 && topK < vocabSize) {
      const isWhole = this.#drawsChains || (topK > mostCandidates && this.#offers("draw"));
      return isWhole ? this.#whole(index) : top(topK);
    }
    if (typicalP < 1 || nReported > 0 || this.#isXtc) return this.#whole(index);
    if (topP < 1 || (minP > 0 && this.#offers("draw"))) {
      if (!this.#offers("mass") || this.#asksAll()) return this.#whole(index);
      // Without top-p it is min-p alone that cuts, wherever that is.
      return { kind: "mass", temperature, share: (1 + topP) / 2 };
    }
    if (minP > 0)
      return this.#offers("above")
        ? { kind: "above", margin: minPMargin(temperature, minP) }
        : this.#whole(index);
    return this.#offers("winner") ? { kind: "winner", temperature, seed, choice, index } : this.#whole(index);
  }

  #offers(kind: HeadWantKind): boolean {
    return this.#limits.wants?.includes(kind) ?? true;
  }

  /** For choices that take the whole vocabulary: made where the logits are, if possible. */
  #whole(index: number): HeadWant {
    if (this.#isXtc || !this.#offers("draw")) return { kind: "all" };
    const { temperature, topK, topP, minP, typicalP, seed, choice } = this.#settings;
    const { mostChained = 1 } = this.#limits;
    return {
      kind: "draw",
      ...{ temperature, topK, typicalP, topP, minP, seed, choice, index },
      nBest: Math.min(this.#nReported ?? 0, this.#limits.vocabSize),
      ...this.#penalties.describe(this.#touched),
      ...(this.nForeseen > 1 ? { leaving: this.#penalties.leaving(mostChained - 1) } : {}),
    };
  }

  /** A distribution too flat for a few candidates tends to stay so: after an open choice, all logits are asked for a while. */
  #asksAll(): boolean {
    if (this.#isOpen) return true;
    if (this.#nAll === 0) return false;
    this.#nAll--;
    return true;
  }

  #notePatience(): void {
    if (!this.#isOpen) {
      this.#nextAll = 1;
      return;
    }
    this.#nAll = this.#nextAll;
    this.#nextAll = Math.min(2 * this.#nextAll, longestImpatience);
  }

  /** @returns false when the answer leaves the choice open. */
  #drawFromMass(result: HeadResult, draw: Draw): boolean {
    const ranking = this.#candidates(result);
    if (ranking.ids.length === 0) return true;
    const nListed = result.ids.length;
    const isWhole = nListed + this.#touched.length === this.#limits.vocabSize;
    // Every token that is not listed stands behind the last one that is.
    const last = result.ids[nListed - 1] ?? -1;
    return drawNucleus(
      {
        ranking,
        nKnown: isWhole ? ranking.ids.length : ranking.ids.indexOf(last) + 1,
        rest: isWhole ? { low: 0, high: 0 } : (result.rest ?? { low: 0, high: Number.POSITIVE_INFINITY }),
        reference: result.logits[0] ?? ranking.logits[0] ?? 0,
      },
      this.#settings,
      draw,
    );
  }

  #best(result: HeadResult): number {
    const { ids } = this.#touched.length === 0 ? result : this.#candidates(result);
    return ids[0] ?? -1;
  }

  #draw(result: HeadResult, index: number): number {
    const { temperature, topK, topP, minP, typicalP, xtcThreshold, seed, choice } = this.#settings;
    const noise = { seed, choice, index };
    const filters = { topK, topP, minP, typicalP, xtcThreshold: this.#isXtc ? xtcThreshold : null };
    if (this.#asked === "all")
      return drawFromAll(this.#changed(result.logits), { temperature, ...filters }, noise);
    const candidates = this.#candidates(result);
    const kept = topK > 0 ? beginningOf(candidates, topK) : candidates;
    return drawFromRanking(kept, { temperature, ...filters }, noise);
  }

  /** All logits after penalties and biases; the answer itself stays as it is, log-probabilities are taken from it. */
  #changed(logits: Float32Array): Float32Array {
    const changed = logits.slice();
    for (const id of this.#touched) changed[id] = this.#penalties.apply(id, logits[id] ?? 0);
    const allowed = this.#allowed;
    if (allowed !== null)
      for (let id = 0; id < changed.length; id++)
        if (!isAllowed(allowed, id)) changed[id] = Number.NEGATIVE_INFINITY;
    return changed;
  }

  /** The ranked candidates and the changed ones, merged. */
  #candidates(result: HeadResult): Ranking {
    const builder = new RankingBuilder(result.ids.length + this.#touched.length);
    result.ids.forEach((id, i) => {
      builder.add(id, result.logits[i] ?? 0);
    });
    this.#touched.forEach((id, i) => {
      if (!isAllowed(this.#allowed, id)) return;
      builder.add(id, this.#penalties.apply(id, result.apartLogits[i] ?? 0));
    });
    return builder.finish();
  }
}

/**
 * A margin below the best logit within which all tokens of weight ≥ minP lie: −temperature · ln(minP), widened beyond every
 * rounding of exp, log and the f32 operations between. Weights below e^−87.3 are 0.
 */
function minPMargin(temperature: number, p: number): number {
  const nearest = -logF32(Math.max(Math.fround(p), 1.2e-38));
  return Math.fround(temperature * (Math.min(nearest, 87.5) * (1 + 1e-5) + 1e-5));
}
