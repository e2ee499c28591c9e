/** The reference with activations as they are: what the equations give when nothing is rounded to int8. */
import { BitNet } from "bitnet.ts";
import { expect, it } from "vitest";
import { tinyModels } from "./tiny-model.ts";

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
  await expect(wrong).rejects.toThrow(/activations: expected one of int8, f32/);
});
