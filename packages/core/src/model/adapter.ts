/**
 * Low-rank adapters (LoRA) for a model: opened from a PEFT folder (adapter_config.json with adapter_model.safetensors) or a GGUF adapter,
 * brought to GGUF's names and the row order of the model, and checked against it. Knows no backend.
 */
import { bytesSource } from "../base/byte-source.ts";
import { BitNetError } from "../base/errors.ts";
import { showValue } from "../base/show-value.ts";

import type { FileRoot } from "../formats/file-root.ts";
import { openGguf } from "../formats/gguf/open-gguf.ts";
import { readJsonFile } from "../formats/json-file.ts";
import { readSafetensors } from "../formats/safetensors/read-safetensors.ts";
import { checkReadable, readTensor, type TensorInfo } from "../formats/tensor.ts";
import { familyNamed, familyOf } from "./families.ts";
import type { ModelConfig } from "./model-config.ts";
import { rowOrder } from "./row-order.ts";
import { hfWeightName } from "./weight-names.ts";

/** Beside PEFT's files: `{ "base": fingerprint }`, which PEFT itself passes over. */
export const adapterBaseFile = "bitnet-base.json";
/** The same in a GGUF adapter. */
export const adapterBaseKey = "bitnet.base_fingerprint";

/** The side path of one projection: y + scale · B(A x). */
export interface AdapterProjection {
  /** [rank, inputs] */
  readonly a: TensorInfo;
  /** [outputs, rank] */
  readonly b: TensorInfo;
  readonly rank: number;
  readonly scale: number;
}

export interface Adapter {
  /** Where it comes from. */
  readonly source: string;
  /** Fingerprint of the base that it was trained on (`ProgramWeights.fingerprint`); null where the files do not say. */
  readonly base: string | null;
  /** By the projection's name, such as `blk.0.attn_q`. */
  readonly projections: ReadonlyMap<string, AdapterProjection>;
  close(): Promise<void>;
}

const projectionNames = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];

/**
 * Opens an adapter for the model that `config` describes. Takes over the root's source.
 * @throws BitNetError FORMAT_INVALID, FORMAT_UNSUPPORTED, FILE_NOT_FOUND for its files; MODEL_INVALID when it does not fit the model.
 */
export async function openAdapter(root: FileRoot, config: ModelConfig): Promise<Adapter> {
  return root.kind === "file" ? openGgufAdapter(root, config) : openPeftAdapter(root, config);
}

/** @throws BitNetError MODEL_INVALID when the adapter says that it belongs to another base. */
export function checkBase(adapter: Adapter, fingerprint: string, model: string): void {
  if (adapter.base === null || adapter.base === fingerprint) return;
  throw new BitNetError(
    "MODEL_INVALID",
    `${adapter.source}: was trained on another base (its weights have the fingerprint ${adapter.base}, those of ${model} have ${fingerprint}); load it with the model that it was trained on`,
    { details: { expected: adapter.base, found: fingerprint } },
  );
}

async function openGgufAdapter(
  { source }: FileRoot & { kind: "file" },
  config: ModelConfig,
): Promise<Adapter> {
  try {
    const { metadata, tensors } = await openGguf(source);
    const label = source.name;
    const text = (key: string) => {
      const entry = metadata.get(key);
      return entry?.type === "string" ? entry.value : null;
    };
    if (text("general.type") !== "adapter" || (text("adapter.type") ?? "lora") !== "lora")
      throw invalid(`${label}: expected a GGUF adapter (general.type "adapter", adapter.type "lora")`);
    const architecture = text("general.architecture");
    const family = familyNamed("gguf", architecture);
    if (family !== undefined && family.name !== config.architecture)
      throw unfit(label, `it is for models of ${family.name}, but the model is of ${config.architecture}`);
    const alpha = metadata.get("adapter.lora.alpha");
    if (alpha?.type !== "f32") throw invalid(`${label}: expected adapter.lora.alpha (f32)`);
    const found = collect(label, tensors, (name) => {
      const match = /^(blk\.\d+\.\w+)\.weight\.lora_([ab])$/.exec(name);
      return match === null ? null : { projection: match[1] ?? "", part: match[2] === "a" ? "a" : "b" };
    });
    const scaleOf = (rank: number) => (alpha.value === 0 ? 1 : alpha.value / rank);
    const pairing = family?.ggufPairing ?? config.pairing;
    const projections = await assemble(label, found, config, pairing, scaleOf);
    return { source: label, base: text(adapterBaseKey), projections, close: () => source.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function openPeftAdapter(root: FileRoot & { kind: "folder" }, config: ModelConfig): Promise<Adapter> {
  const json = await readJson(root, "adapter_config.json");
  if (json === null)
    throw new BitNetError(
      "FILE_NOT_FOUND",
      `${root.name}: expected adapter_config.json (a PEFT adapter), found none`,
    );
  const settings = peftSettings(json, `${root.name}/adapter_config.json`);
  const weights = await root.open("adapter_model.safetensors");
  if (weights === null)
    throw new BitNetError("FILE_NOT_FOUND", `${root.name}: expected adapter_model.safetensors, found none`);
  try {
    const modules = modulesOf(config);
    const found = collect(root.name, await readSafetensors(weights), (name) => {
      const match = /^(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight$/.exec(name);
      const projection = modules.get(match?.[1] ?? "");
      return projection === undefined ? null : { projection, part: match?.[2] === "A" ? "a" : "b" };
    });
    const projections = await assemble(root.name, found, config, "half", settings.scaleOf);
    const stored = (await readJson(root, adapterBaseFile)) as { base?: unknown } | null;
    const base = typeof stored?.base === "string" ? stored.base : null;
    return { source: root.name, base, projections, close: () => weights.close() };
  } catch (error) {
    await weights.close();
    throw error;
  }
}

async function readJson(root: FileRoot & { kind: "folder" }, name: string): Promise<unknown> {
  const source = await root.open(name);
  if (source === null) return null;
  try {
    return await readJsonFile(source, { maxMiB: 16 });
  } finally {
    await source.close();
  }
}

/** What of PEFT's settings matters, and a refusal of what would change the result and is not done here. */
function peftSettings(json: unknown, label: string): { scaleOf: (rank: number) => number } {
  if (typeof json !== "object" || json === null) throw invalid(`${label}: expected an object`);
  const config = json as Record<string, unknown>;
  const isSet = (value: unknown) =>
    value !== undefined &&
    value !== null &&
    value !== false &&
    (typeof value !== "object" || Object.keys(value).length > 0);
  const problems = [
    "use_dora",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "fan_in_fan_out",
    "lora_bias",
  ]
    .filter((key) => isSet(config[key]))
    .map((key) => `${key} is not read here`);
  if (config.peft_type !== "LORA")
    problems.push(`peft_type is ${showValue(config.peft_type)}, expected LORA`);
  if ((config.bias ?? "none") !== "none") problems.push("bias must be none");
  const { lora_alpha: alpha, use_rslora: isRooted } = config;
  if (typeof alpha !== "number" || !(alpha > 0) || !Number.isFinite(alpha))
    problems.push("lora_alpha must be a positive number");
  if (problems.length > 0)
    throw new BitNetError("FORMAT_UNSUPPORTED", `${label}: ${problems.join("; ")}`, {
      details: { problems },
    });
  return { scaleOf: (rank) => (alpha as number) / (isRooted === true ? Math.sqrt(rank) : rank) };
}

/** Projections by the names of their modules in Hugging Face's models. */
function modulesOf(config: ModelConfig): Map<string, string> {
  const modules = new Map<string, string>();
  for (let layer = 0; layer < config.nLayers; layer++)
    for (const name of projectionNames) {
      const projection = `blk.${layer}.${name}`;
      modules.set(
        hfWeightName(familyOf(config), projection, () => false).replace(/\.weight$/, ""),
        projection,
      );
    }
  return modules;
}

type Parts = Map<string, { a?: TensorInfo; b?: TensorInfo }>;

function collect(
  label: string,
  tensors: ReadonlyMap<string, TensorInfo>,
  place: (name: string) => { projection: string; part: "a" | "b" } | null,
): Parts {
  const found: Parts = new Map();
  for (const tensor of tensors.values()) {
    const at = place(tensor.name);
    if (at === null || !projectionNames.includes(at.projection.split(".").at(-1) ?? ""))
      throw unfit(label, `the model has no projection for the tensor "${tensor.name}"`);
    found.set(at.projection, { ...found.get(at.projection), [at.part]: tensor });
  }
  if (found.size === 0) throw invalid(`${label}: holds no low-rank weights`);
  return found;
}

async function assemble(
  label: string,
  found: Parts,
  config: ModelConfig,
  pairing: ModelConfig["pairing"],
  scaleOf: (rank: number) => number,
): Promise<Map<string, AdapterProjection>> {
  const projections = new Map<string, AdapterProjection>();
  for (const [name, { a, b }] of found) {
    if (a === undefined || b === undefined)
      throw invalid(`${label}: ${name} has only one of its two low-rank weights`);
    for (const tensor of [a, b]) checkFactor(label, tensor);
    const [rank = 0, inputs] = a.shape;
    const size = sizesOf(name, config);
    if (inputs !== size.inputs || b.shape[0] !== size.outputs || b.shape[1] !== rank || rank < 1)
      throw unfit(
        label,
        `${name} has weights [${a.shape}] and [${b.shape}], but the model wants [rank, ${size.inputs}] and [${size.outputs}, rank]`,
      );
    const isMoved = /attn_[qk]$/.test(name) && pairing !== config.pairing;
    projections.set(name, {
      a,
      b: isMoved ? await reordered(b, rowOrder(size.outputs, config.headDim, pairing, config.pairing)) : b,
      rank,
      scale: Math.fround(scaleOf(rank)),
    });
  }
  return projections;
}

function checkFactor(label: string, tensor: TensorInfo): void {
  checkReadable(tensor);
  const { type, shape, name } = tensor;
  if ((type === "f32" || type === "f16" || type === "bf16") && shape.length === 2) return;
  throw new BitNetError(
    "FORMAT_UNSUPPORTED",
    `${label}: tensor "${name}" is ${String(type)} [${shape}], expected a matrix of f32, f16 or bf16`,
  );
}

function sizesOf(name: string, config: ModelConfig): { inputs: number; outputs: number } {
  const { hiddenSize, ffnSize, nHeads, nKvHeads, headDim, nLayers } = config;
  const [, layer = "", part = ""] = name.split(".");
  const [q, kv] = [nHeads * headDim, nKvHeads * headDim];
  const sizes: Readonly<Record<string, readonly [number, number]>> = {
    attn_q: [hiddenSize, q],
    attn_k: [hiddenSize, kv],
    attn_v: [hiddenSize, kv],
    attn_output: [q, hiddenSize],
    ffn_gate: [hiddenSize, ffnSize],
    ffn_up: [hiddenSize, ffnSize],
    ffn_down: [ffnSize, hiddenSize],
  };
  const [inputs, outputs] = Number(layer) < nLayers ? (sizes[part] ?? [0, 0]) : [0, 0];
  return { inputs, outputs };
}

/** The rows of a matrix in another order, in memory. */
async function reordered(tensor: TensorInfo, order: Int32Array): Promise<TensorInfo> {
  const bytes = await readTensor(tensor);
  const rowBytes = bytes.length / order.length;
  const out = new Uint8Array(bytes.length);
  order.forEach((from, row) => {
    out.set(bytes.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes);
  });
  return { ...tensor, source: bytesSource(out, tensor.name), offset: 0 };
}

function invalid(message: string): BitNetError {
  return new BitNetError("FORMAT_INVALID", message);
}

function unfit(label: string, problem: string): BitNetError {
  return new BitNetError("MODEL_INVALID", `${label}: the adapter does not fit the model: ${problem}`);
}
