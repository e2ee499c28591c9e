import { expect, it } from "vitest";
import { compileProgress } from "./compile-progress.ts";

function written(isTerminal: boolean, total: number): string {
  let text = "";
  const show = compileProgress((part) => {
    text += part;
  }, isTerminal);
  for (let done = 0; done <= total; done++) show(done, total);
  return text;
}

it("rewrites one line on a terminal, and takes it away at the end", () => {
  expect(written(true, 2)).toBe("\rnative: compiling 0/2 …\rnative: compiling 1/2 …\r\u001b[2K");
});

it("writes a line now and then elsewhere", () => {
  expect(written(false, 12)).toBe("native: compiling 0/12 …\nnative: compiling 10/12 …\n");
});
