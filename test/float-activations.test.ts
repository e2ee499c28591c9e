/** How activations are rounded: as the files tell, as the caller says, or not at all, which is what the equations give. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BitNet, type BitNetLoadOptions } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bitnet, bitnetJson } from "./cli-process.ts";
import { tinyModels } from "./tiny-model.ts";

describe("in floats", () => {
  it("is near the rounded model, and is not it", async () => {
    const texts = ["The United States", "We must all be ready"];
    const load = (activations: "int8" | "f32") =>
      BitNet.load(tinyModels.i2_s, { backend: "reference", activations, kvType: "f32" });
    const [rounded, exact] = [await load("int8"), await load("f32")];
    const [a, b] = [await rounded.embed(texts), await exact.embed(texts)];
    for (const [i, vector] of a.embeddings.entries()) {
      const cosine = vector.reduce((sum, value, k) => sum + value * (b.embeddings[i]?.[k] ?? 0), 0);
      expect(cosine).toBeGreaterThan(0.97);
      expect(cosine).toBeLessThan(0.999_999);
    }
    await rounded.dispose();
    await exact.dispose();
  });

  it("is for the reference backend alone", async () => {
    const loading = BitNet.load(tinyModels.i2_s, { activations: "f32" });
    await expect(loading).rejects.toThrow(/activations: only the reference backend/);
    const wrong = BitNet.load(tinyModels.i2_s, { activations: "f16" as "f32" });
    await expect(wrong).rejects.toThrow(/activations: expected one of int8, int8-token, int8-groups, f32/);
  });
});

describe("by the caller's word", () => {
  let folder = "";
  let grouped = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "bitnet-activations-"));
    grouped = join(folder, "grouped.gguf");
    await bitnetJson(["convert", tinyModels.i2_s, "-o", grouped, "--to", "pq2_0"]);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function logprobs(path: string, activations?: BitNetLoadOptions["activations"]): Promise<number[]> {
    const model = await BitNet.load(path, {
      kvType: "f32",
      ...(activations === undefined ? {} : { activations }),
    });
    const options = { maxTokens: 1, temperature: 0, promptLogprobs: 0 };
    const { promptLogprobs } = await model.generate("We must all be ready to", options).result;
    await model.dispose();
    return (promptLogprobs ?? []).map((entry) => entry?.logprob ?? 0);
  }

  it("files that tell a token at a time run in groups, and files of groups a token at a time", async () => {
    const [token, groups] = [await logprobs(tinyModels.i2_s), await logprobs(grouped)];
    expect(token.length).toBeGreaterThan(5);
    expect(token).not.toEqual(groups);
    expect(await logprobs(tinyModels.i2_s, "int8-groups")).toEqual(groups);
    expect(await logprobs(grouped, "int8-token")).toEqual(token);
    expect(await logprobs(tinyModels.i2_s, "int8-token")).toEqual(token);
    expect(await logprobs(grouped, "int8")).toEqual(groups);
  });

  it("on the command line", async () => {
    const text = join(folder, "text.txt");
    await writeFile(text, "We must all be ready to serve");
    const perplexity = async (...args: string[]) => {
      const flags = ["perplexity", "-m", tinyModels.i2_s, "-f", text, "-c", "16", "--stride", "16", ...args];
      return (await bitnetJson<{ perplexity: number }>(flags)).perplexity;
    };
    const usual = await perplexity();
    const others = [
      await perplexity("--activations", "int8-groups"),
      await perplexity("--activations", "f32", "--backend", "reference"),
    ];
    expect(new Set([usual, ...others]).size).toBe(3);
    for (const other of others) expect(Math.abs(other / usual - 1)).toBeLessThan(0.1);
    const refused = await bitnet(["run", "-m", tinyModels.i2_s, "-p", "We", "--activations", "f32"]);
    expect([refused.status, refused.stderr]).toEqual([
      1,
      expect.stringContaining("only the reference backend"),
    ]);
  });
});
