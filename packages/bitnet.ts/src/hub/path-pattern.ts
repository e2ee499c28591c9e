/**
 * Patterns of paths as fsspec's `glob` reads them, which the `datasets` library goes by: `*` and `?` stay within a name, `[…]` is one of some characters,
 * `**` stands for any folders. In time that no pattern can make long.
 */

/** One character of a name: itself, any, or one of a list. */
type Token = { kind: "many" } | { kind: "one"; matches: (character: string) => boolean };

/** Names that begin with a dot, and folders that begin with two underscores, are only found where a pattern spells that out. */
export function pathMatcher(pattern: string): (path: string) => boolean {
  const parts = pattern.split("/");
  const tests = parts.map((part) => (part === "**" ? null : nameMatcher(part)));
  const special = countSpecial(parts);
  return (path) => {
    const names = path.split("/");
    if (countSpecial(names) !== special) return false;
    // reached[i]: the parts so far can have taken the first i names.
    let reached = [true, ...names.map(() => false)];
    for (const test of tests) {
      const next = names.map(() => false);
      next.unshift(false);
      for (const [i, isReached] of reached.entries()) {
        if (!isReached) continue;
        if (test === null) next.fill(true, i);
        else if (i < names.length && test(names[i] ?? "")) next[i + 1] = true;
      }
      reached = next;
    }
    return reached[names.length] === true;
  };
}

function countSpecial(names: readonly string[]): number {
  return names.filter((name, i) => name.startsWith(".") || (name.startsWith("__") && i < names.length - 1))
    .length;
}

function nameMatcher(part: string): (name: string) => boolean {
  const tokens = tokensOf(part);
  return (name) => {
    let reached = [true, ...tokens.map(() => false)]; // [i]: the first i tokens can have taken what came so far
    passStars(tokens, reached);
    for (const character of name) {
      const next = [false, ...tokens.map(() => false)];
      for (const [i, token] of tokens.entries()) {
        if (reached[i] !== true) continue;
        if (token.kind === "many") next[i] = true;
        else if (token.matches(character)) next[i + 1] = true;
      }
      passStars(tokens, next);
      reached = next;
    }
    return reached[tokens.length] === true;
  };
}

/** A star may stand for nothing. */
function passStars(tokens: readonly Token[], reached: boolean[]): void {
  for (const [i, { kind }] of tokens.entries())
    if (kind === "many" && reached[i] === true) reached[i + 1] = true;
}

function tokensOf(part: string): Token[] {
  const tokens: Token[] = [];
  const characters = Array.from(part);
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] ?? "";
    const end = character === "[" ? characters.indexOf("]", i + 2) : -1;
    if (character === "*") tokens.push({ kind: "many" });
    else if (character === "?") tokens.push({ kind: "one", matches: () => true });
    else if (end > 0) {
      tokens.push({ kind: "one", matches: oneOf(characters.slice(i + 1, end)) });
      i = end;
    } else tokens.push({ kind: "one", matches: (found) => found === character });
  }
  return tokens;
}

/** `a-z` is a range; `!` or `^` in front means all others. */
function oneOf(list: readonly string[]): (character: string) => boolean {
  const isNot = list.length > 1 && (list[0] === "!" || list[0] === "^");
  const ranges: [number, number][] = [];
  const code = (i: number) => list[i]?.codePointAt(0) ?? 0;
  for (let i = isNot ? 1 : 0; i < list.length; i++) {
    const isRange = list[i + 1] === "-" && i + 2 < list.length;
    ranges.push([code(i), code(isRange ? i + 2 : i)]);
    if (isRange) i += 2;
  }
  return (character) => {
    const found = character.codePointAt(0) ?? 0;
    return ranges.some(([low, high]) => low <= found && found <= high) !== isNot;
  };
}
