/** Finds the final answer in the solution of a mathematical problem: the last \boxed{…}, else a number that is named as the answer, else the last one. */

export function finalAnswer(text: string): string | null {
  return lastBoxed(text) ?? namedAnswer(text) ?? text.match(/-?\d[\d,]*(?:\.\d+)?/g)?.at(-1) ?? null;
}

/** Braces balance; `\boxed 5` takes the next word. */
export function lastBoxed(text: string): string | null {
  const starts = [...text.matchAll(/\\f?boxed(?![a-zA-Z])/g)].map(
    ({ index, 0: match }) => index + match.length,
  );
  for (const start of starts.toReversed()) {
    const rest = text.slice(start).trimStart();
    if (!rest.startsWith("{")) {
      const word = /^[^\s$.,]+/.exec(rest)?.[0];
      if (word !== undefined) return word;
      continue;
    }
    let depth = 0;
    for (let i = 0; i < rest.length; i++) {
      if (rest[i] === "\\") i++;
      else if (rest[i] === "{") depth++;
      else if (rest[i] === "}" && --depth === 0) return rest.slice(1, i);
    }
  }
  return null;
}

function namedAnswer(text: string): string | null {
  const match = [...text.matchAll(/answer is:?\s*\$?(-?[\d,]*\.?\d+(?:\/\d+)?)/gi)].at(-1);
  return match?.[1] ?? null;
}
