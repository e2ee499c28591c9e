import { expect, test } from "vitest";
import { type AnswerEvent, AnswerReader, type ReaderOptions } from "./answer-reader.ts";

const options: ReaderOptions = { tools: true, thinking: "maybe", names: new Set(["f", "g"]) };

/** What comes out, adjacent texts joined, for every way to cut the answer in two and for single characters. */
function readAll(answer: string, given: ReaderOptions = options): AnswerEvent[] {
  const read = (pieces: string[]) => {
    const reader = new AnswerReader(given);
    const events = [...pieces.flatMap((piece) => reader.push(piece)), ...reader.end()];
    const joined: AnswerEvent[] = [];
    for (const event of events) {
      const last = joined.at(-1);
      if (event.kind !== "call" && last?.kind === event.kind)
        joined[joined.length - 1] = { kind: event.kind, text: last.text + event.text };
      else joined.push(event);
    }
    return joined;
  };
  const whole = read([answer]);
  expect(read([...answer])).toEqual(whole);
  for (let cut = 1; cut < answer.length; cut++)
    expect(read([answer.slice(0, cut), answer.slice(cut)])).toEqual(whole);
  return whole;
}

test("text, thoughts and calls, however the pieces fall", () => {
  expect(readAll("plain < text <tool")).toEqual([{ kind: "text", text: "plain < text <tool" }]);
  expect(readAll("<think>hm</think>\n\nyes")).toEqual([
    { kind: "reasoning", text: "hm" },
    { kind: "text", text: "yes" },
  ]);
  expect(readAll("said <think>no</think>")).toEqual([{ kind: "text", text: "said <think>no</think>" }]);
  expect(readAll("hm</think>yes", { ...options, thinking: "begun" })).toEqual([
    { kind: "reasoning", text: "hm" },
    { kind: "text", text: "yes" },
  ]);
  expect(
    readAll(
      'a<tool_call>{"name":"f","arguments":{"x":"</tool"}}</tool_call>\n<tool_call>{"name":"g"}</tool_call>',
    ),
  ).toEqual([
    { kind: "text", text: "a" },
    { kind: "call", index: 0, name: "f", arguments: '{"x":"</tool"}' },
    { kind: "call", index: 1, name: "g", arguments: "{}" },
  ]);
});

test("what is no call stays text", () => {
  for (const broken of [
    '<tool_call>{"name":"f"',
    "<tool_call>nonsense</tool_call>",
    '<tool_call>{"name":"h","arguments":{}}</tool_call>',
  ])
    expect(readAll(broken)).toEqual([{ kind: "text", text: broken }]);
  const answer = '<tool_call>{"name":"f","arguments":{}}</tool_call>';
  expect(readAll(answer, { ...options, tools: false })).toEqual([{ kind: "text", text: answer }]);
});
