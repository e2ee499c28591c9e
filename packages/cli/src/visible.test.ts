import { expect, it } from "vitest";
import { visible } from "./visible.ts";

it.each([
  ["\u001b[31mred\u001b]0;title\u0007", "␛[31mred␛]0;title␇"],
  ["a\rb\u0008\u007f", "a␍b␈␡"],
  ["\u009b2J \u202eabc\u2066", "\\u009b2J \\u202eabc\\u2066"],
  ["one\r\ntwo\tthree", "one\ntwo\tthree"],
  ["héllo 漢字 👩‍👩‍👧", "héllo 漢字 👩‍👩‍👧"],
])("%j", (text, shown) => {
  expect(visible(text)).toBe(shown);
});
