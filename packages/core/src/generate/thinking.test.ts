import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FakeExecutable, peak } from "./fake-executable.test.kit.ts";
import type { GenerateOptions } from "./options.ts";
import { Scheduler } from "./scheduler.ts";
import type { TokenPiece } from "./stream.ts";
import { type ThinkingMarks, ThinkingSplitter } from "./thinking.ts";

const words = [
  "",
  "<think>",
  "</think>",
  "\n",
  "so ",
  "hm ",
  "Yes",
  ".",
  "</thi",
  "nk>No",
  "ok\n</think>\n\nDone",
];
const [eos, open, close, newline, so, hm, yes, dot, half, rest, whole] = words.map((_, id) => id) as [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
];
const vocabSize = 16;
const marks: ThinkingMarks = {
  open: "<think>",
  close: "</think>",
  closeIds: [close],
  openId: open,
  isOpen: false,
};
const prompt = Int32Array.of(1, 2, 3);

/** A generation whose model can only say `script`; the marks are hidden, as control tokens are. */
async function say(script: number[], options: GenerateOptions = {}, hidden: number[] = []) {
  const fake = new FakeExecutable({
    nPages: 4,
    vocabSize,
    logitsOf: (history) => peak(script[history.length - prompt.length] ?? eos, vocabSize),
  });
  const tokenizer = {
    vocabSize: words.length,
    eosIds: [eos],
    tokenBytes: (id: number) => new TextEncoder().encode(words[id]),
    encode: () => new Int32Array(),
    createDecoder: () => ({
      push: (id: number) => (hidden.includes(id) ? "" : (words[id] ?? "")),
      end: () => "",
    }),
  };
  const scheduler = new Scheduler(fake, { nPages: 4, tokenizer });
  const generation = scheduler.generate(prompt, {
    repeatPenalty: 1,
    temperature: 0,
    thinking: marks,
    ...options,
  });
  const pieces: TokenPiece[] = [];
  for await (const piece of generation) pieces.push(piece);
  const result = await generation.result;
  const of = (channel: string) =>
    pieces
      .filter((piece) => piece.channel === channel)
      .map(({ text }) => text)
      .join("");
  expect([of("thinking"), of("answer")]).toEqual([result.thinking, result.text]);
  return result;
}

describe("thinking", () => {
  test("is told from the answer, without the marks and the line ends around them", async () => {
    const script = [open, newline, so, newline, hm, newline, close, newline, newline, yes, newline, dot];
    for (const hidden of [[], [open, close]]) {
      expect(await say(script, {}, hidden)).toMatchObject({
        thinking: "so \nhm ",
        text: "Yes\n.",
        stopReason: "eos",
      });
    }
  });

  test("may be opened by the prompt, end inside a token, or not be there", async () => {
    const opened = { ...marks, isOpen: true };
    expect(await say([so, half, rest], { thinking: opened })).toMatchObject({ thinking: "so ", text: "No" });
    expect(await say([newline, whole], { thinking: opened })).toMatchObject({ thinking: "ok", text: "Done" });
    expect(await say([newline, yes, open, dot])).toMatchObject({ thinking: "", text: "\nYes<think>." });
    expect(await say([open, so])).toMatchObject({ thinking: "so ", text: "" });
    expect(await say([open, half])).toMatchObject({ thinking: "</thi", text: "" });
  });

  test("ends at its budget, whatever the model says", async () => {
    const script = [open, so, so, so, so, yes, dot];
    expect(await say(script, { thinkingBudget: 2 })).toMatchObject({
      ids: Int32Array.of(open, so, so, close, so, yes, dot),
      thinking: "so so ",
      text: "so Yes.",
    });
    const none = await say([so, yes], {
      thinkingBudget: 0,
      thinking: { ...marks, isOpen: true },
      logprobs: 2,
    });
    expect(none).toMatchObject({ ids: Int32Array.of(close, yes), thinking: "", text: "Yes" });
    expect(none.logprobs?.map(({ id }) => id)).toEqual([close, yes]);
    // A model that closes in time is left alone.
    expect(await say([open, so, close, yes], { thinkingBudget: 2 })).toMatchObject({
      text: "Yes",
      thinking: "so ",
    });
  });

  test("is not searched for stop texts", async () => {
    const result = await say([open, so, hm, close, so, hm, yes], { stop: "hm" });
    expect(result).toMatchObject({ thinking: "so hm ", text: "so ", stopReason: "stop" });
  });

  test("needs marks as encodeChat gives them, and a budget needs marks", async () => {
    const invalid = expect.objectContaining({ code: "INVALID_ARGUMENT" });
    await expect(async () => say([], { thinking: { ...marks, closeIds: [] } })).rejects.toThrowError(invalid);
    await expect(async () => say([], { thinking: null, thinkingBudget: 3 })).rejects.toThrowError(invalid);
  });
});

describe("the splitter", () => {
  test("gives the same text however it is cut", () => {
    const unit = fc.constantFrom("<think>", "</think>", "<", "/", "think>", "\n", "a", " ");
    const text = fc.array(unit, { maxLength: 14 }).map((units) => units.join(""));
    const property = fc.property(
      text,
      fc.boolean(),
      fc.infiniteStream(fc.integer({ min: 1, max: 5 })),
      (whole, isOpen, cuts) => {
        const split = (parts: Iterable<string>) => {
          const splitter = new ThinkingSplitter({ ...marks, isOpen });
          const all = [...parts].map((part) => splitter.push(part));
          all.push(splitter.end());
          return [all.map((part) => part.thinking).join(""), all.map((part) => part.answer).join("")];
        };
        const parts: string[] = [];
        for (let at = 0; at < whole.length; ) {
          const size = cuts.next().value ?? 1;
          parts.push(whole.slice(at, at + size));
          at += size;
        }
        expect(split(parts)).toEqual(split([whole]));
      },
    );
    fc.assert(property, { numRuns: 2000, seed: 3 });
  });
});
