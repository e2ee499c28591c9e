/** The numbers of GSM8K answers: two ways to find one, and one to compare. Source: lm-evaluation-harness, gsm8k.yaml. */

const strictPattern = /#### (-?[0-9.,]+)/;
const flexiblePattern = /(-?[$0-9.,]{2,})|(-?[0-9]+)/g;

/** After `####`, the first; null when there is none. */
export function strictNumber(text: string): string | null {
  return strictPattern.exec(text)?.[1] ?? null;
}

/** The last number-like word; null when there is none. */
export function flexibleNumber(text: string): string | null {
  return text.match(flexiblePattern)?.at(-1) ?? null;
}

/** As the harness compares: without commas, dollar signs, a final full stop, and case. */
export function equalTexts(found: string | null, gold: string): boolean {
  const plain = (text: string) => text.replaceAll(/[,$]/g, "").replace(/\.$/, "").trim().toLowerCase();
  return found !== null && plain(found) === plain(gold);
}

/** As numbers: `5.0` is 5, `1,000` is 1000, `$29.00` is 29. */
export function equalNumbers(found: string | null, gold: string): boolean {
  if (found === null) return false;
  const value = (text: string) => {
    const plain = text.replaceAll(/[,$]/g, "").replace(/\.$/, "");
    return plain === "" || plain === "-" ? Number.NaN : Number(plain);
  };
  return value(found) === value(gold);
}
