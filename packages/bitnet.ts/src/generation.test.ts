/** What a generation is to its readers, whatever it comes from. */
import { expect, it } from "vitest";
import { type GenerationSource, neverBegun, SingleGeneration, type TokenPiece } from "./generation.ts";

function sourceOf(pieces: readonly TokenPiece[]): GenerationSource & { nAsked: number } {
  return {
    nAsked: 0,
    result: Promise.resolve({ ...neverBegun(1), stopReason: "eos", text: "Hi there." }),
    read() {
      const left = pieces[Symbol.iterator]();
      return {
        next: async () => {
          this.nAsked++;
          const { done, value } = left.next();
          return done === true ? { done, value: undefined } : { done: false, value };
        },
      };
    },
  };
}

async function chunksOf(stream: ReadableStream<string>): Promise<string[]> {
  const chunks: string[] = [];
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value);
  return chunks;
}

it("streams the text of the answer alone, without pieces that add none", async () => {
  const pieces: TokenPiece[] = [
    { id: 1, text: "They greet.", channel: "thinking" },
    { id: 2, text: "", channel: "answer" },
    { id: 3, text: "Hi", channel: "answer" },
    { id: 4, text: " there." },
  ];
  const generation = new SingleGeneration(sourceOf(pieces), undefined);
  expect(await chunksOf(generation.textStream)).toEqual(["Hi", " there."]);
});

it("has one stream of its text, and asks for nothing before somebody reads it", async () => {
  const source = sourceOf([{ id: 1, text: "Hi there." }]);
  const generation = new SingleGeneration(source, undefined);
  const stream = generation.textStream;
  expect(generation.textStream).toBe(stream);
  await new Promise((resolve) => setImmediate(resolve));
  expect(source.nAsked).toBe(0);
  expect(await chunksOf(stream)).toEqual(["Hi there."]);
  expect(() => generation[Symbol.asyncIterator]()).toThrow(/read once/);
});
