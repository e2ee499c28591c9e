/**
 * Cuts a template into text and tags, and tags into words, with the options of Hugging Face's renderer (trim_blocks, lstrip_blocks).
 * Every character is looked at a bounded number of times. Behaviour: Jinja2 3.1, lexer.py.
 */
import { templateError } from "./template-values.ts";

export type Word =
  | { readonly kind: "name" | "string" | "operator"; readonly text: string }
  | { readonly kind: "integer" | "float"; readonly text: string; readonly value: number };

export type Part =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "block" | "print"; readonly words: readonly Word[] };

const maxSourceLength = 131_072;

export function lexTemplate(original: string): Part[] {
  if (original.length > maxSourceLength)
    throw templateError(`has ${original.length} characters, at most ${maxSourceLength} are supported`);
  const source = original.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  const parts: Part[] = [];
  let at = 0;
  let startsLine = true;
  const push = (text: string) => {
    if (text !== "") parts.push({ kind: "text", text });
  };
  while (at < source.length) {
    const tag = nextTag(source, at);
    if (tag < 0) {
      push(source.slice(at));
      break;
    }
    const kind = source[tag + 1] ?? "";
    const sign = source[tag + 2] ?? "";
    push(before(source.slice(at, tag), kind === "{" && sign !== "-" ? "+" : sign, startsLine));
    const begin = tag + (sign === "-" || sign === "+" ? 3 : 2);
    const raw = kind === "%" ? rawBlock(source, begin) : null;
    if (raw !== null) {
      push(raw.text);
      at = raw.end;
    } else if (kind === "#") at = commentEnd(source, begin);
    else {
      const words: Word[] = [];
      at = lexTag(source, begin, kind === "%" ? "%}" : "}}", words);
      parts.push({ kind: kind === "%" ? "block" : "print", words });
    }
    startsLine = source[at - 1] === "\n";
  }
  return parts;
}

function nextTag(source: string, from: number): number {
  for (let at = source.indexOf("{", from); at >= 0; at = source.indexOf("{", at + 1)) {
    const next = source[at + 1];
    if (next === "%" || next === "{" || next === "#") return at;
  }
  return -1;
}

/** The text before a tag: a minus takes all white space at its end, a tag alone on its line the white space of that line. */
function before(text: string, sign: string, startsLine: boolean): string {
  if (sign === "-") return text.trimEnd();
  if (sign === "+") return text;
  const line = text.lastIndexOf("\n") + 1;
  return (line > 0 || startsLine) && text.slice(line).trim() === "" ? text.slice(0, line) : text;
}

/** Where text goes on after a tag that closes at `at`: a minus before the closing takes the white space, else a line end goes. */
function after(source: string, at: number, sign: string, dropsLine: boolean): number {
  let end = at;
  if (sign === "-") while (end < source.length && /\s/.test(source[end] ?? "")) end++;
  else if (sign !== "+" && dropsLine && source[end] === "\n") end++;
  return end;
}

function commentEnd(source: string, begin: number): number {
  const close = source.indexOf("#}", begin);
  if (close < 0) throw templateError("has a comment that does not end");
  return after(source, close + 2, close > begin ? (source[close - 1] ?? "") : "", true);
}

const rawBegin = /\s*raw\s*(-?)%\}/y;
const rawEnd = /\{%([-+]?)\s*endraw\s*([-+]?)%\}/g;

function rawBlock(source: string, begin: number): { text: string; end: number } | null {
  rawBegin.lastIndex = begin;
  const opening = rawBegin.exec(source);
  if (opening === null) return null;
  const from = after(source, rawBegin.lastIndex, opening[1] ?? "", false);
  rawEnd.lastIndex = from;
  const closing = rawEnd.exec(source);
  if (closing === null) throw templateError("has a raw block that does not end");
  const text = before(source.slice(from, closing.index), closing[1] ?? "", source[from - 1] === "\n");
  return { text, end: after(source, rawEnd.lastIndex, closing[2] ?? "", true) };
}

const space = /\s+/y;
const float = /\d+(?:_\d+)*(?:\.\d+(?:_\d+)*(?:e[+-]?\d+)?|e[+-]?\d+)/iy;
const integer = /\d+(?:_\d+)*/y;
const name = /[\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Nd}\p{Mn}\p{Mc}\p{Pc}]*/uy;
const operator = /\*\*|\/\/|==|!=|>=|<=|[-+*/%~[\](){}<>=.:|,;]/y;
const closers: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** @returns Where the text after the tag begins. */
function lexTag(source: string, begin: number, close: "%}" | "}}", words: Word[]): number {
  const open: string[] = [];
  let at = begin;
  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(source)?.[0];
    if (found === undefined) return null;
    at += found.length;
    return found;
  };
  while (at < source.length) {
    if (match(space) !== null) continue;
    const sign = source[at] === "-" || source[at] === "+" ? (source[at] ?? "") : "";
    if (open.length === 0 && source.startsWith(close, at + sign.length) && !(sign === "+" && close === "}}"))
      return after(source, at + sign.length + 2, sign, close === "%}");
    const quote = source[at];
    if (quote === "'" || quote === '"') {
      const end = stringEnd(source, at, quote);
      words.push({ kind: "string", text: unescaped(source.slice(at + 1, end)) });
      at = end + 1;
      continue;
    }
    const number = match(float);
    const whole = number === null ? match(integer) : null;
    const digits = number ?? whole;
    if (digits !== null) {
      const value = Number(digits.replaceAll("_", ""));
      words.push({ kind: number === null ? "integer" : "float", text: digits, value });
      continue;
    }
    const word = match(name);
    if (word !== null) {
      words.push({ kind: "name", text: word });
      continue;
    }
    const symbol = match(operator);
    if (symbol === null) throw templateError(`has an unexpected character ${JSON.stringify(source[at])}`);
    if (closers[symbol] !== undefined) open.push(closers[symbol]);
    else if (symbol === ")" || symbol === "]" || symbol === "}") {
      if (open.pop() !== symbol) throw templateError(`has an unexpected ${JSON.stringify(symbol)}`);
    }
    words.push({ kind: "operator", text: symbol });
  }
  throw templateError(`has a tag that does not end in ${JSON.stringify(close)}`);
}

function stringEnd(source: string, start: number, quote: string): number {
  for (let at = start + 1; at < source.length; at++) {
    if (source[at] === "\\") at++;
    else if (source[at] === quote) return at;
  }
  throw templateError("has a string that does not end");
}

const simpleEscapes: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  b: "\b",
  f: "\f",
  v: "\v",
  a: "\x07",
  "\\": "\\",
  "'": "'",
  '"': '"',
  "\n": "",
};

/** Python's escapes; unknown ones stay as they are. */
function unescaped(text: string): string {
  if (!text.includes("\\")) return text;
  return text.replace(
    /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([0-7]{1,3})|([\s\S]))/gi,
    (whole, x, u, long, octal, other) => {
      if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8));
      const hex = x ?? u ?? long;
      if (hex !== undefined) {
        const code = Number.parseInt(hex, 16);
        if (code > 0x10ffff) throw templateError(`has an escape ${whole} beyond Unicode`);
        return String.fromCodePoint(code);
      }
      return simpleEscapes[other] ?? whole;
    },
  );
}
