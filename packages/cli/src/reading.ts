/** `reading n tokens …` on a terminal, while a long prompt has not given its first token. */
import { plural } from "./format.ts";
import { cut, dim, movesCursor } from "./terminal.ts";

const delayMs = 500;

/** @returns Takes the line away; may be called again. */
export function expectReading(nTokens: number): { end(): void } {
  const stream = process.stderr;
  if (!movesCursor(stream)) return { end() {} };
  let isShown = false;
  const timer = setTimeout(() => {
    isShown = true;
    stream.write(dim(cut(`reading ${plural(nTokens, "token")} …`)));
  }, delayMs);
  return {
    end() {
      clearTimeout(timer);
      if (isShown) stream.write("\r\u001b[2K");
      isShown = false;
    },
  };
}
