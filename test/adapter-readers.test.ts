/**
 * Adapters as others read them: GGUF by `@huggingface/gguf` and the rules that llama.cpp checks when it loads one (llama-adapter.cpp), PEFT by the
 * names and shapes that its `set_peft_model_state_dict` looks for.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gguf } from "@huggingface/gguf";
import { embeddedModelPath } from "bitnet.ts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { trainAdapter } from "./trained-adapter.ts";

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "bitnet-adapter-readers-"));
  await trainAdapter(folder, { name: "a", seed: 1, text: "The owl eats mice." });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Projections that `trainAdapter` trains: their names in both formats, outputs and inputs of the embedded model. */
const projections = [
  ["attn_q", "self_attn.q_proj", 256, 256],
  ["attn_v", "self_attn.v_proj", 64, 256],
  ["attn_output", "self_attn.o_proj", 256, 256],
  ["ffn_up", "mlp.up_proj", 768, 256],
  ["ffn_down", "mlp.down_proj", 256, 768],
] as const;
const [rank, nLayers] = [8, 6];
const layers = Array.from({ length: nLayers }, (_, i) => i);

describe("an adapter in GGUF", () => {
  it("is one of this base by its metadata, and each pair fits its tensor", async () => {
    const adapter = await gguf(join(folder, "a", "adapter.gguf"), { allowLocalFile: true });
    const base = await gguf(embeddedModelPath(), { allowLocalFile: true });
    const metadata = adapter.metadata as Record<string, unknown>;
    expect(metadata).toMatchObject({
      "general.type": "adapter",
      "general.architecture": (base.metadata as Record<string, unknown>)["general.architecture"],
      "adapter.type": "lora",
      "adapter.lora.alpha": 16,
    });
    const shapes = new Map(adapter.tensorInfos.map(({ name, shape }) => [name, shape.map(Number)]));
    expect(shapes.size).toBe(2 * nLayers * projections.length);
    for (const layer of layers)
      for (const [part] of projections) {
        const name = `blk.${layer}.${part}.weight`;
        const tensor = base.tensorInfos.find((each) => each.name === name);
        const [a = [], b = []] = [shapes.get(`${name}.lora_a`), shapes.get(`${name}.lora_b`)];
        // Fastest dimension first, as ggml has them.
        expect([a[0], b[1]], name).toEqual(tensor?.shape.map(Number));
        expect([a[1], b[0]], name).toEqual([rank, rank]);
      }
  });
});

describe("an adapter for PEFT", () => {
  it("has the configuration, the names and the shapes that PEFT gives its own", () => {
    const read = (name: string) => readFileSync(join(folder, "a", "adapter", name));
    const config = JSON.parse(read("adapter_config.json").toString("utf8")) as Record<string, unknown>;
    expect(config).toMatchObject({
      ...{
        peft_type: "LORA",
        task_type: "CAUSAL_LM",
        r: rank,
        lora_alpha: 16,
        lora_dropout: 0.1,
        bias: "none",
      },
      target_modules: ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
    });
    const bytes = read("adapter_model.safetensors");
    const nHeader = Number(bytes.readBigUInt64LE(0));
    const { __metadata__: metadata, ...tensors } = JSON.parse(
      bytes.subarray(8, 8 + nHeader).toString("utf8"),
    ) as Record<string, { dtype: string; shape: number[] }>;
    expect(metadata).toMatchObject({ format: "pt" });
    const expected = layers.flatMap((layer) =>
      projections.flatMap(([, module, outputs, inputs]) => {
        const name = `base_model.model.model.layers.${layer}.${module}`;
        return [
          [`${name}.lora_A.weight`, [rank, inputs]],
          [`${name}.lora_B.weight`, [outputs, rank]],
        ] as const;
      }),
    );
    expect(Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, shape]))).toEqual(
      Object.fromEntries(expected),
    );
    expect(new Set(Object.values(tensors).map(({ dtype }) => dtype))).toEqual(new Set(["F32"]));
  });
});
