/** What of a model's text becomes the program: the traps that scored models wrongly elsewhere. */
import { describe, expect, it } from "vitest";
import { programOf } from "./completion.ts";

const prompt = 'def double(x):\n    """Twice x.\n    # 2 and 3\n    """\n';

describe("a program", () => {
  it("keeps the first spaces of the completion and the last newline of the prompt", () => {
    expect(programOf(prompt, "    return 2 * x\n")).toBe(`${prompt}    return 2 * x\n`);
  });

  it.each([
    ["a function after it", "    return 2 * x\ndef other(): pass"],
    ["a class after it", "    return 2 * x\nclass A: pass"],
    ["a comment after it", "    return 2 * x\n# done"],
    ["its own test", '    return 2 * x\nif __name__ == "__main__": double(1)'],
    ["the first of several ends", "    return 2 * x\nprint(1)\nassert True\ndef a(): pass"],
    ["an end-of-text marker", "    return 2 * x<|endoftext|>User: hi"],
    ["an end-of-turn marker", "    return 2 * x<|eot_id|>"],
  ])("ends before %s", (_, completion) => {
    expect(programOf(prompt, completion)).toBe(`${prompt}    return 2 * x`);
  });

  it("has the prompt once where the model repeats it", () => {
    expect(programOf(prompt, `${prompt}    return 2 * x`)).toBe(`${prompt}    return 2 * x`);
  });

  it("is not cut by stop words of the prompt, nor by those inside a body", () => {
    const helped = `import math\ndef half(x):\n    return x / 2\n${prompt}`;
    const body = "    # def in a comment\n    from math import floor\n    return 2 * x";
    expect(programOf(helped, body)).toBe(helped + body);
  });
});
