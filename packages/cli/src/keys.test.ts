import { expect, it } from "vitest";
import { PasteSplitter } from "./keys.ts";

it("tells pastes from keys, wherever chunks end", () => {
  const sent = "ab\u001b[200~one\ntwo\u001b[Ax\u001b[201~c\u001b[200~\u001b[201~\u001b[A";
  const start = "\u001b[200~";
  let nTold = 0;
  for (let size = 1; size <= sent.length; size++) {
    let keys = "";
    const pastes: string[] = [];
    const splitter = new PasteSplitter(
      (text) => {
        keys += text;
      },
      (text) => pastes.push(text),
    );
    for (let i = 0; i < sent.length; i += size) splitter.push(sent.slice(i, i + size));
    // A start that is cut after one or two characters is not waited for: it may be Escape, or an arrow key.
    const starts = [sent.indexOf(start), sent.lastIndexOf(start)];
    if (starts.some((at) => (at + 1) % size === 0 || (at + 2) % size === 0)) continue;
    nTold++;
    expect({ size, keys, pastes }).toEqual({ size, keys: "abc\u001b[A", pastes: ["one\ntwo\u001b[Ax", ""] });
  }
  expect(nTold).toBeGreaterThan(10);
});

it("does not hold back the Escape key", () => {
  const seen: string[] = [];
  new PasteSplitter(
    (text) => seen.push(text),
    () => {},
  ).push("\u001b");
  expect(seen).toEqual(["\u001b"]);
});
