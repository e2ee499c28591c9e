/** A conversation longer than the context, on the reference backend. */
import { expect, it } from "vitest";
import { BitNet } from "./bitnet.ts";

const tiny = new URL("../../../test/golden/tiny.gguf", import.meta.url).pathname;

it("drops its oldest turns when the context is full, but never the system message", async () => {
  const model = await BitNet.load(tiny, { backend: "reference", contextLength: 96 });
  try {
    const chat = model.createChat({ system: "Be brief." });
    for (let i = 0; i < 8; i++)
      await chat.send(`Question ${i} about the state of the union`, { maxTokens: 8 }).result;
    expect(chat.droppedMessages).toBeGreaterThan(0);
    expect(chat.messages[0]?.role).toBe("system");
    expect(chat.messages.at(-2)?.content).toMatch(/^Question 7/);
    await expect(async () => chat.send("word ".repeat(200)).result).rejects.toMatchObject({
      code: "CONTEXT_EXCEEDED",
    });
    expect(chat.messages.at(-1)?.role).toBe("assistant");
  } finally {
    await model.dispose();
  }
});
