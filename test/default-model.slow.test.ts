/** The model that users meet first: what it must be able to do, on questions that training never saw (models/recipes). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { encodeChat } from "@bitnet.ts/core";
import { BitNet } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ProbeKind, probe } from "../models/recipes/small-chat/probes.ts";
import { embeddedModel } from "./cli-process.ts";

const nProbes = 40;
/** Below what was measured of 200 questions (docs/default-model.md), by more than chance takes away from 40. */
const least: Readonly<Record<ProbeKind, number>> = {
  facts: 0.95,
  arithmetic: 0.95,
  context: 0.85,
  copying: 0.85,
  unknown: 0.95,
  stories: 0.85,
};
let model: BitNet;

beforeAll(async () => {
  model = await BitNet.load(embeddedModel, { onNotice: () => {} });
});
afterAll(() => model.dispose());

describe("the default model", () => {
  it("chats: greets, says what it is, answers, admits what it does not know, and tells a story", async () => {
    const chat = model.createChat();
    const ask = (text: string) => chat.send(text, { temperature: 0, repeatPenalty: 1 }).text;
    expect(await ask("Hi there!")).toMatch(/^(Hello|Hi)/);
    expect(await ask("who are you?")).toContain("Trit");
    expect(await ask("what do owls eat")).toBe("Owls eat mice.");
    expect(await ask("What is the capital of France?")).toMatch(/not (know|learnt|able)|too hard|outside/);
    expect(await ask("whats 8+7")).toBe("8 plus 7 is 15.");
    await ask("My name is Ada.");
    expect(await ask("What is my name?")).toBe("Your name is Ada.");
    expect(await ask("Repeat after me: lantern")).toBe("lantern.");
    expect(await ask("Tell me a story about a dragon.")).toMatch(/dragon.*The end\.$/s);
  });

  it("answers a newcomer with the very words that its page shows", async () => {
    const page = readFileSync(join(import.meta.dirname, "..", "docs", "default-model.md"), "utf8");
    const conversation = page.slice(page.indexOf("## As a newcomer would ask it"));
    const turns = [...conversation.matchAll(/^> (.+)\n\n(.+)$/gm)];
    expect(turns.length).toBeGreaterThanOrEqual(10);
    const chat = model.createChat();
    for (const [, question = "", answer] of turns)
      expect((await chat.send(question, { seed: 1 }).text).trim(), question).toBe(answer);
  });

  it.each(Object.keys(least) as ProbeKind[])("answers what it was not trained on: %s", async (kind) => {
    const answers = Array.from({ length: nProbes }, async (_, i) => {
      const { messages, check } = probe(kind, i);
      const { ids } = encodeChat(model.tokenizer, model.template, messages, { addGenerationPrompt: true });
      const sampling =
        kind === "stories" ? { temperature: 0.7, seed: i } : { temperature: 0, repeatPenalty: 1 };
      return check((await model.generate(ids, { ...sampling, maxTokens: 200 }).text).trim()).length === 0;
    });
    const share = (await Promise.all(answers)).filter(Boolean).length / nProbes;
    expect(share).toBeGreaterThanOrEqual(least[kind]);
  });
});
