/**
 * Whether two answers to a mathematical problem are the same: as texts after normalisation, as numbers, element by element, and as
 * expressions, which are compared at several points (two expressions of this kind that agree at five random points are equal but for
 * chance).
 */
import { normaliseLatex } from "./latex-normal.ts";
import { latexValue, lettersOf } from "./latex-value.ts";

export interface AnswerVerdict {
  /** Equal as texts, numbers or lists of such. */
  readonly string: boolean;
  /** Or as expressions in letters. */
  readonly symbolic: boolean;
}

const tolerance = 1e-4;

export function equalAnswers(found: string | null, gold: string): AnswerVerdict {
  if (found === null) return { string: false, symbolic: false };
  const [a, b] = [normaliseLatex(found), normaliseLatex(gold)];
  const string = a === b || equalValues(a, b) || equalLists(a, b, equalValues);
  return { string, symbolic: string || equalExpressions(a, b) || equalLists(a, b, equalExpressions) };
}

function isNear(x: number, y: number): boolean {
  return (
    Math.abs(x - y) <= tolerance * Math.max(Math.abs(x), Math.abs(y)) &&
    Number.isFinite(x) &&
    Number.isFinite(y)
  );
}

function equalValues(a: string, b: string): boolean {
  if (a === b) return true;
  if (a === "" || b === "") return false;
  return isNear(latexValue(a), latexValue(b));
}

const points = [0.7312, 1.9178, 2.4433, -1.3771, 3.1059];

function equalExpressions(a: string, b: string): boolean {
  if (a === b) return true;
  const letters = lettersOf(a);
  if (letters.length === 0 || letters.length > 6 || letters.join() !== lettersOf(b).join()) return false;
  return points.every((point, p) => {
    const values = new Map(letters.map((letter, i) => [letter, point + 0.377 * ((i * 3 + p) % 7)]));
    const [x, y] = [latexValue(a, values), latexValue(b, values)];
    return Math.abs(x - y) <= 1e-9 * Math.max(1, Math.abs(x), Math.abs(y));
  });
}

/** Tuples, intervals, sets and matrices: the same brackets, and equal elements in order (in a set, in any order). */
function equalLists(a: string, b: string, equal: (x: string, y: string) => boolean): boolean {
  const [x, y] = [listOf(a), listOf(b)];
  if (x === null || y === null || x.brackets !== y.brackets || x.parts.length !== y.parts.length)
    return false;
  const same = (p: string, q: string) => equal(p, q) || equalLists(p, q, equal);
  if (x.brackets !== "\\{\\}") return x.parts.every((part, i) => same(part, y.parts[i] ?? ""));
  const left = [...y.parts];
  return x.parts.every((part) => {
    const place = left.findIndex((other) => same(part, other));
    if (place >= 0) left.splice(place, 1);
    return place >= 0;
  });
}

interface List {
  brackets: string;
  parts: string[];
}

function listOf(text: string): List | null {
  const matrix = /^\\begin\{([bp]?matrix)\}(.*)\\end\{\1\}$/.exec(text);
  if (matrix) return { brackets: matrix[1] ?? "", parts: (matrix[2] ?? "").split(/\\\\|&/) };
  const set = /^\\\{(.*)\\\}$/.exec(text);
  if (set) return { brackets: "\\{\\}", parts: splitAtCommas(set[1] ?? "") };
  const parts = /^[([].*[)\]]$/.test(text) ? splitAtCommas(text.slice(1, -1)) : [];
  if (parts.length > 1) return { brackets: `${text[0]}${text.at(-1)}`, parts };
  const bare = splitAtCommas(text);
  return bare.length > 1 ? { brackets: "", parts: bare } : null;
}

/** Outside of brackets. */
function splitAtCommas(text: string): string[] {
  const parts = [""];
  let depth = 0;
  for (const character of text) {
    if ("([{".includes(character)) depth++;
    if (")]}".includes(character)) depth--;
    if (character === "," && depth === 0) parts.push("");
    else parts.push((parts.pop() ?? "") + character);
  }
  return parts;
}
