/** Answers to requests for a share of the mass that are true but say less than they might. For tests. */
import { answerHead } from "../backend/reference/head.ts";
import type { HeadRequest, HeadResult } from "../backend/step.ts";

/** Lists at most `nListed` candidates and widens the bracket of the rest by `width` of it and of what is listed. */
export function looseAnswer(
  nListed: number,
  width: number,
): (request: HeadRequest, logits: Float32Array) => HeadResult {
  return (request, logits) => {
    const result = answerHead(request, logits);
    const { want } = request;
    if (want.kind !== "mass" || result.rest === undefined) return result;
    const weights = [...result.logits].map((logit) =>
      Math.exp((logit - (result.logits[0] ?? 0)) / want.temperature),
    );
    const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
    const dropped = sum(weights.slice(nListed));
    const slack = width * (dropped + result.rest.high + sum(weights.slice(0, nListed)));
    return {
      ...result,
      ids: result.ids.slice(0, nListed),
      logits: result.logits.slice(0, nListed),
      rest: {
        low: Math.max(0, (result.rest.low + dropped) * (1 - 1e-9) - slack),
        high: (result.rest.high + dropped) * (1 + 1e-9) + slack,
      },
    };
  };
}
