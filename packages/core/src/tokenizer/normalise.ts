/**
 * The changes that a tokenizer makes to text before it splits it: Unicode normal forms, SentencePiece's visible space and
 * its dummy prefix. Knows nothing of files or tokens.
 */

/** A change of text. Linear in its length, whatever the text. */
export type TextChange = (text: string) => string;

/** SentencePiece writes a space as U+2581. */
export const visibleSpace = "\u2581";

type NormalForm = "NFC" | "NFD" | "NFKC" | "NFKD";

/** @returns A normal form of Unicode (UAX #15). */
export function toNormalForm(form: NormalForm): TextChange {
  return (text) => (isAscii(text) ? text : orderLongRuns(text).normalize(form));
}

export function replaceAll(from: string, to: string): TextChange {
  return (text) => text.replaceAll(from, () => to);
}

export function prepend(prefix: string): TextChange {
  return (text) => (text === "" ? "" : prefix + text);
}

/** Patterns of tokenizer.json for SentencePiece's `remove_extra_whitespaces`. */
export const manySpaces = " {2,}";
export const outerSpaces = "^ +| +$";

/** Without the spaces at both ends, and without the quadratic search of a regular expression. */
export function withoutOuterSpaces(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && text[start] === " ") start++;
  while (end > start && text[end - 1] === " ") end--;
  return text.slice(start, end);
}

/** @returns All changes, one after the other, or `null` for none. */
export function inOrder(changes: readonly TextChange[]): TextChange | null {
  const [first] = changes;
  if (first === undefined) return null;
  return changes.length === 1 ? first : (text) => changes.reduce((sofar, change) => change(sofar), text);
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}

/** Engines sort combining marks by insertion, in quadratic time: a run of 100,000 takes seconds. Long runs are sorted before. */
function orderLongRuns(text: string): string {
  return text.replace(/\p{M}{64,}/gu, orderMarks);
}

/** Canonical ordering (UAX #15, D109): stable, by combining class, between marks of class 0. */
function orderMarks(run: string): string {
  const marks = Array.from(Array.from(run, (mark) => mark.normalize("NFD")).join(""));
  const classes = combiningClasses(marks);
  const ordered: string[] = [];
  let buckets: string[][] = [];
  const flush = () => {
    for (const bucket of buckets) if (bucket !== undefined) for (const mark of bucket) ordered.push(mark);
    buckets = [];
  };
  for (const mark of marks) {
    const rank = classes.get(mark);
    if (rank === undefined) {
      flush();
      ordered.push(mark);
    } else {
      const bucket = buckets[rank];
      if (bucket === undefined) buckets[rank] = [mark];
      else bucket.push(mark);
    }
  }
  flush();
  return ordered.join("");
}

/** The class of U+0345, 240, is the highest, so that every other mark of a class above 0 moves before it. */
const lastMark = "\u0345";

/** Ranks of the combining classes of `marks`, found by watching how the engine orders pairs; those of class 0 are left out. */
function combiningClasses(marks: readonly string[]): Map<string, number> {
  const swaps = (a: string, b: string) => (a + b).normalize("NFD") !== a + b;
  const distinct = [...new Set(marks)].filter((mark) => mark === lastMark || swaps(lastMark, mark));
  distinct.sort((a, b) => (swaps(a, b) ? 1 : swaps(b, a) ? -1 : 0));
  const ranks = new Map<string, number>();
  let rank = 0;
  for (const [index, mark] of distinct.entries()) {
    if (index > 0 && swaps(mark, distinct[index - 1] ?? "")) rank++;
    ranks.set(mark, rank);
  }
  return ranks;
}
