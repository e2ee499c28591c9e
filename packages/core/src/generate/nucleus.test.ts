/** How sure a part of the vocabulary may be of what all of it would give. */
import { expect, it } from "vitest";
import type { Draw } from "./filters.ts";
import { drawNucleus } from "./nucleus.ts";

/** Every token that is offered wins, so that each of them matters. */
function lastWins(): Draw {
  const draw = {
    id: -1,
    offer(id: number) {
      draw.id = id;
    },
  };
  return draw as unknown as Draw;
}

const logits = new Float32Array(4);
const here = 4;

/** What is drawn when top-p cuts after two tokens, were the weights of the rest right, but only by this relative margin. */
function drawAt(margin: number, rest: number): number | "open" {
  const draw = lastWins();
  const ranking = { ids: Int32Array.of(7, 8, 9, 10), logits };
  const part = { ranking, nKnown: 4, rest: { low: rest, high: rest }, reference: 0 };
  const topP = (2 * (1 + margin)) / (here + rest);
  return drawNucleus(part, { temperature: 1, topP, minP: 0 }, draw) ? draw.id : "open";
}

it.each([
  ["the weights of what is not here", 50, 1e-5],
  ["sums", 0, 1e-10],
])("stays open within the error of %s", (_, rest, error) => {
  expect(drawAt(-error, rest)).toBe("open");
  expect(drawAt(error, rest)).toBe("open");
});

it.each([0, 50])("is sure beyond it (a rest of %i)", (rest) => {
  expect(drawAt(-1e-4, rest)).toBe(8);
  expect(drawAt(1e-4, rest)).toBe(9);
});
