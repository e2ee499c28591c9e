/**
 * Words without end: the head of one known word with the tail of another. A model that is to copy what it never saw must meet so many
 * words that none is worth remembering; a list of a thousand it would learn by heart.
 */
import type { Draw } from "./draw.ts";
import { openNames, openNouns } from "./open-words.ts";
import { capital, openName, openNoun, pseudoWord } from "./world.ts";

const isHeldOut = (_: string, i: number) => i % 6 === 5;
const heldOut = new Set([...openNames, ...openNouns].map((word) => word.toLowerCase()));
const learntNouns = openNouns.filter((word, i) => !isHeldOut(word, i));
const learntNames = openNames.filter((word, i) => !isHeldOut(word, i)).map((name) => name.toLowerCase());

function spliced(draw: Draw, words: readonly string[]): string {
  const [head, tail] = [draw.pick(words), draw.pick(words)];
  const word = head.slice(0, draw.between(1, head.length - 1)) + tail.slice(draw.between(1, tail.length - 1));
  // Not by chance one of the lists: some of them are kept for measuring.
  return word.length < 3 || word.length > 11 || heldOut.has(word) ? pseudoWord(draw) : word;
}

export function newNoun(draw: Draw): string {
  return draw.isHeldOut || draw.chance(0.4) ? openNoun(draw) : spliced(draw, learntNouns);
}

export function newName(draw: Draw): string {
  return draw.isHeldOut || draw.chance(0.4) ? openName(draw) : capital(spliced(draw, learntNames));
}
