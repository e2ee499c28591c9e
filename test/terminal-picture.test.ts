/** The recorded terminal of the README shows what the embedded model says, whatever machine it was recorded on. */
import { readFileSync } from "node:fs";
import { BitNet } from "bitnet.ts";
import { expect, it } from "vitest";

const svg = readFileSync(new URL("../docs/public/terminal.svg", import.meta.url), "utf8");
const lines = [...svg.matchAll(/<text class="line"[^>]*>(.*)<\/text>/g)].map(([, line = ""]) =>
  line
    .replaceAll(/<[^>]*>/g, "")
    .replaceAll("&lt;", "<")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&"),
);

/** What stands between a message and the line that counts the answer's tokens, its lines joined again. */
function conversation(): { message: string; answer: string }[] {
  const turns: { message: string; answer: string }[] = [];
  for (const line of lines.slice(2)) {
    if (line.startsWith("> ")) turns.push({ message: line.slice(2), answer: "" });
    else if (!/^\d+ tokens/.test(line)) {
      const turn = turns.at(-1);
      if (turn) turn.answer = `${turn.answer} ${line}`.trim();
    }
  }
  return turns;
}

it("has the answers that its seed gives", async () => {
  const turns = conversation();
  expect(turns.length).toBeGreaterThan(1);
  const model = await BitNet.load("tiny");
  const chat = model.createChat();
  for (const { message, answer } of turns) {
    const text = await chat.send(message, { seed: 1 }).text;
    expect(text.replaceAll(/\s+/g, " ").trim()).toBe(answer.replaceAll(/\s+/g, " "));
  }
  await model.dispose();
});

it("says nothing of the machine, and needs nothing from elsewhere", () => {
  expect(svg).not.toMatch(/tok\/s|avx|amx|neon|href|url\(|<script/);
});
