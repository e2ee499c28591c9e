/** Answers as models write them. */
import { describe, expect, it } from "vitest";
import { finalAnswer, lastBoxed } from "./boxed.ts";
import { equalAnswers } from "./equal-answers.ts";
import { equalNumbers, equalTexts, flexibleNumber, strictNumber } from "./numbers.ts";

describe("numbers of GSM8K", () => {
  it.each([
    ["so 3.\n#### 18", "18", "18"],
    ["#### 1,000\nQuestion: and 5?", "1,000", "5"],
    ["it costs $29.00", null, "$29.00"],
    ["#### -5.", "-5.", "-5."],
    ["#### 7 #### 8", "7", "8"],
    ["nothing", null, null],
  ])("are found: %j", (text, strict, flexible) => {
    expect([strictNumber(text), flexibleNumber(text)]).toEqual([strict, flexible]);
  });

  it.each([
    ["1,000", "1000", true, true],
    ["$29.00", "29", false, true],
    ["5.0", "5", false, true],
    ["-5.", "-5", true, true],
    ["5", "-5", false, false],
    [null, "5", false, false],
    ["-", "0", false, false],
  ])("are compared as texts and as numbers: %j %j", (found, gold, asTexts, asNumbers) => {
    expect([equalTexts(found, gold), equalNumbers(found, gold)]).toEqual([asTexts, asNumbers]);
  });
});

describe("final answers", () => {
  it.each([
    [String.raw`first \boxed{1}, then \boxed{\frac{1}{2}}.`, String.raw`\frac{1}{2}`],
    [String.raw`\boxed{\left\{1, \{2\}\right\}}`, String.raw`\left\{1, \{2\}\right\}`],
    [String.raw`so $\boxed 5$.`, "5"],
    [String.raw`\fbox{12}`, "12"],
    [String.raw`cut off \boxed{12`, "12"],
    ["The answer is 42, as 41 + 1", "42"],
    ["we get 3 and then 1,234.5", "1,234.5"],
    ["none", null],
  ])("%j", (text, expected) => {
    expect(finalAnswer(text)).toBe(expected);
  });

  it("need a word behind \\boxed", () => {
    expect(lastBoxed(String.raw`\boxedness`)).toBeNull();
  });
});

describe("equality", () => {
  const equal: [string, string][] = [
    [String.raw`\frac12`, String.raw`\dfrac{1}{2}`],
    ["0.5", ".5"],
    ["0.5", String.raw`\frac{1}{2}`],
    [String.raw`11\sqrt2`, String.raw`11\sqrt{2}`],
    [String.raw`\text{Evelyn}`, "Evelyn"],
    [String.raw`10\%`, "10"],
    ["1{,}000", "1000"],
    ["1,000", "1000"],
    ["x = 5", "5"],
    [String.raw`\left(3, \frac{\pi}{2}\right)`, String.raw`(3,\pi/2)`],
    [String.raw`5\text{ cm}^2`, "5"],
    [String.raw`90^\circ`, "90"],
    [String.raw`\{1,2\}`, String.raw`\{2, 1\}`],
    ["1, 2", "1,2"],
    [String.raw`\begin{pmatrix} 1 \\ 2 \end{pmatrix}`, String.raw`\begin{pmatrix}1\\2.0\end{pmatrix}`],
    [String.raw`1\frac12`, "1.5"],
    ["6 - 5i", "6-5i"],
    ["4210_7", "4210_{7}"],
    ["$18", "18"],
    ["7.", "7"],
  ];
  it.each(equal)("%s = %s", (a, b) => {
    expect(equalAnswers(a, b)).toEqual({ string: true, symbolic: true });
  });

  it.each([
    ["2x+3", "3+2x"],
    ["(x+1)^2", "x^2+2x+1"],
    [String.raw`\frac{x}{2}`, "0.5x"],
  ])("%s and %s are equal as expressions only", (a, b) => {
    expect(equalAnswers(a, b)).toEqual({ string: false, symbolic: true });
  });

  it.each([
    ["(1,2)", "[1,2]"],
    ["(1,2)", "(2,1)"],
    [String.raw`10\%`, "0.1"],
    ["2x+3", "2y+3"],
    ["5", "-5"],
    ["", "5"],
    ["x+1", "x+1.001"],
    ["12", "(1,2)"],
  ])("%s ≠ %s", (a, b) => {
    expect(equalAnswers(a, b)).toEqual({ string: false, symbolic: false });
  });

  it("ends soon whatever is written", () => {
    const deep = `${"(".repeat(5000)}1${")".repeat(5000)}`;
    expect(equalAnswers(deep, "1").symbolic).toBe(false);
    expect(equalAnswers(`${"9".repeat(300)}^${"9".repeat(50)}`, "1").symbolic).toBe(false);
    expect(equalAnswers(null, "1").string).toBe(false);
  });
});
