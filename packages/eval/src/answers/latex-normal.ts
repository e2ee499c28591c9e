/** One spelling for answers that are written in several: what MATH's own checkers normalise, step by step. Knows no mathematics. */

export function normaliseLatex(text: string): string {
  let s = text.trim();
  s = s.replace(/^\$+|\$+$/g, "");
  s = s.replaceAll(/\\left(?![a-zA-Z])|\\right(?![a-zA-Z])/g, "");
  s = s.replaceAll(/(?<!\\)\\[!,;: ]|\\q?quad|~/g, "");
  s = s.replaceAll(/\\(?:tfrac|dfrac|cfrac)/g, "\\frac");
  s = withoutUnits(s);
  s = s.replaceAll(/\\(?:text|mbox|mathrm|textbf|mathbf)\{([^{}]*)\}/g, "$1");
  s = s.replaceAll(/\\?\$/g, "").replaceAll(/\\?%/g, "");
  s = s.replaceAll(/\^\{?\\circ\}?|\\degree|°/g, "");
  s = s
    .replaceAll(/(\d)\{,\}(?=\d{3})/g, "$1")
    .replaceAll(/(\d),(?=\d{3}(?!\d))/g, isTuple(s) ? "$1," : "$1");
  s = s.replaceAll(/\s+/g, "").replaceAll(/_\{(\w+)\}/g, "_$1");
  s = s.replace(/\.$/, "");
  s = withBraces(s);
  s = s.replace(/^[a-zA-Z](?:\([a-zA-Z]\))?=(?!=)/, "");
  s = s.replaceAll(/(^|[^\d.])\.(\d)/g, "$10.$2");
  s = s.replace(/^(-?)0*(\d+)\.0*$/, "$1$2");
  return s;
}

/** Thousands in `(1,000)` cannot be told from two numbers: brackets mean a list. */
function isTuple(text: string): boolean {
  return /^[([{]|\\\{/.test(text.trim());
}

/** `5\text{ cm}^2` → `5`: only behind a number or a brace, so that a whole answer in \text stays. */
function withoutUnits(text: string): string {
  return text.replace(/(?<=[\d})])\s*\\(?:text|mbox|mathrm)\{\s*[a-zA-Z. ]+\}(?:\^\{?\d\}?)?$/, "");
}

/** `\frac12` → `\frac{1}{2}`, `\sqrt3` → `\sqrt{3}`. */
function withBraces(text: string): string {
  return text
    .replaceAll(
      /\\frac(?:\{([^{}]*)\}|([0-9a-zA-Z]))(?:\{([^{}]*)\}|([0-9a-zA-Z]))/g,
      (_, a, b, c, d) => `\\frac{${a ?? b}}{${c ?? d}}`,
    )
    .replaceAll(/\\sqrt([0-9a-zA-Z])/g, "\\sqrt{$1}");
}
