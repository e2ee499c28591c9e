/**
 * A random Llama as Transformers.js opens it: ONNX with 4-bit weights in blocks of 32 (`MatMulNBits`, int8 activations: the fastest that its runtime has on a
 * processor), attention as one operation, tables of embedding and head shared. It has the widths of a dummy model and as many layers as make a file of
 * about the same size. Operations are those of ONNX Runtime's contributed set, com.microsoft.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { type dummyShapes, RandomBits } from "@bitnet.ts/cli/measuring";
import { cacheFolder } from "./models.ts";
import { type OnnxNode, type OnnxTensor, onnxBytes } from "./onnx-file.ts";

type DummyShape = (typeof dummyShapes)[number];

const blockSize = 32;
const microsoft = "com.microsoft";
const epsilon = 1e-5;
/** Positions that rotations are kept for. */
const mostPositions = 1024;
const writtenAtOnce = 2 ** 24;

/** Bytes of a matrix: half a byte a weight, and a scale in f32 for each block. */
function matrixBytes(rows: number, cols: number): number {
  return (rows * cols) / 2 + 4 * rows * (cols / blockSize);
}

function matricesOf({ hiddenSize, ffnSize, nHeads, nKvHeads, headDim }: DummyShape) {
  return {
    q: [nHeads * headDim, hiddenSize],
    k: [nKvHeads * headDim, hiddenSize],
    v: [nKvHeads * headDim, hiddenSize],
    o: [hiddenSize, nHeads * headDim],
    gate: [ffnSize, hiddenSize],
    up: [ffnSize, hiddenSize],
    down: [hiddenSize, ffnSize],
  } as const;
}

/** @param bytes Of the file of data, about. @returns The folder, and how many layers fit. */
export function ensureOnnxLlama(shape: DummyShape, bytes: number): { folder: string; nLayers: number } {
  const layer = Object.values(matricesOf(shape)).reduce(
    (sum, [rows, cols]) => sum + matrixBytes(rows, cols),
    0,
  );
  const head = matrixBytes(shape.vocabSize, shape.hiddenSize);
  const nLayers = Math.max(1, Math.round((bytes - head) / layer));
  const folder = join(cacheFolder(), `onnx-${shape.name}-${nLayers}-layers`);
  if (existsSync(folder)) return { folder, nLayers };
  const making = `${folder}.${process.pid}.part`;
  mkdirSync(join(making, "onnx"), { recursive: true });
  try {
    writeLlama(making, { ...shape, nLayers });
    renameSync(making, folder);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return { folder, nLayers };
}

function writeLlama(folder: string, shape: DummyShape): void {
  const { hiddenSize, headDim, nHeads, nKvHeads, nLayers, vocabSize } = shape;
  const data = new DataFile(join(folder, "onnx", "model_q4.onnx_data"));
  const tensors: OnnxTensor[] = [];
  const nodes: OnnxNode[] = [];
  const addMatrix = (name: string, rows: number, cols: number) => {
    const blocks = cols / blockSize;
    const codes = data.random((rows * cols) / 2);
    const scales = data.same(rows * blocks, 0.02);
    tensors.push({ name: `${name}.codes`, type: "u8", shape: [rows, blocks, blockSize / 2], values: codes });
    tensors.push({ name: `${name}.scales`, type: "f32", shape: [rows * blocks], values: scales });
    return { codes, scales };
  };
  const multiply = (name: string, x: string, rows: number, cols: number): string => {
    nodes.push({
      ...{ op: "MatMulNBits", domain: microsoft, outputs: [`${name}.out`] },
      inputs: [x, `${name}.codes`, `${name}.scales`],
      attributes: { K: cols, N: rows, bits: 4, block_size: blockSize, accuracy_level: 4 },
    });
    return `${name}.out`;
  };
  const ones = data.same(hiddenSize, 1);
  tensors.push({ name: "norm", type: "f32", shape: [hiddenSize], values: ones });
  addRotations(tensors, data, shape);

  // Positions: how many tokens there are, and the last one's index.
  const constants = { one: 1, zero: 0 } as const;
  for (const [name, value] of Object.entries(constants)) {
    const values = new Uint8Array(BigInt64Array.of(BigInt(value)).buffer);
    tensors.push({ name, type: "i64", shape: [], values });
    tensors.push({ name: `${name}s`, type: "i64", shape: [1], values });
  }
  nodes.push(
    {
      op: "ReduceSum",
      inputs: ["attention_mask", "ones"],
      outputs: ["lengths"],
      attributes: { keepdims: 1 },
    },
    { op: "Sub", inputs: ["lengths", "ones"], outputs: ["lasts.i64"] },
    { op: "Cast", inputs: ["lasts.i64"], outputs: ["lasts"], to: "i32" },
    { op: "Shape", inputs: ["attention_mask"], outputs: ["sizes"] },
    { op: "Gather", inputs: ["sizes", "one"], outputs: ["total.i64"], attributes: { axis: 0 } },
    { op: "Cast", inputs: ["total.i64"], outputs: ["total"], to: "i32" },
  );

  const head = addMatrix("head", vocabSize, hiddenSize);
  const perRow = hiddenSize / blockSize;
  tensors.push({ name: "embedding", type: "u8", shape: [vocabSize, hiddenSize / 2], values: head.codes });
  tensors.push({ name: "embedding.scales", type: "f32", shape: [vocabSize, perRow], values: head.scales });
  nodes.push({
    ...{ op: "GatherBlockQuantized", domain: microsoft, outputs: ["x.0"] },
    inputs: ["embedding", "input_ids", "embedding.scales"],
    attributes: { bits: 4, block_size: blockSize, gather_axis: 0, quantize_axis: 1 },
  });
  nodes.push({
    ...{ op: "SimplifiedLayerNormalization", inputs: ["x.0", "norm"], outputs: ["normed.0"] },
    attributes: { axis: -1, epsilon, stash_type: 1 },
    floats: ["epsilon"],
  });
  /** Adds to the residual stream, and normalises what it is then. */
  let nNorms = 0;
  const addAndNormalise = (change: string): string => {
    const at = ++nNorms;
    nodes.push({
      ...{ op: "SkipSimplifiedLayerNormalization", domain: microsoft },
      inputs: [`x.${at - 1}`, change, "norm"],
      outputs: [`normed.${at}`, "", "", `x.${at}`],
      attributes: { epsilon },
      floats: ["epsilon"],
    });
    return `normed.${at}`;
  };
  let x = "normed.0";
  for (let i = 0; i < nLayers; i++) {
    const apply = (name: keyof ReturnType<typeof matricesOf>, to: string) => {
      const [rows, cols] = matricesOf(shape)[name];
      addMatrix(`${i}.${name}`, rows, cols);
      return multiply(`${i}.${name}`, to, rows, cols);
    };
    const [q, k, v] = [apply("q", x), apply("k", x), apply("v", x)];
    const cache = ["key", "value"];
    nodes.push({
      ...{ op: "GroupQueryAttention", domain: microsoft },
      inputs: [
        q,
        k,
        v,
        ...cache.map((kind) => `past_key_values.${i}.${kind}`),
        "lasts",
        "total",
        "cos",
        "sin",
      ],
      outputs: [`${i}.attended`, ...cache.map((kind) => `present.${i}.${kind}`)],
      attributes: { num_heads: nHeads, kv_num_heads: nKvHeads, do_rotary: 1, rotary_interleaved: 0 },
    });
    x = addAndNormalise(apply("o", `${i}.attended`));
    const [gate, up] = [apply("gate", x), apply("up", x)];
    nodes.push(
      { op: "Sigmoid", inputs: [gate], outputs: [`${i}.sigmoid`] },
      { op: "Mul", inputs: [gate, `${i}.sigmoid`], outputs: [`${i}.silu`] },
      { op: "Mul", inputs: [`${i}.silu`, up], outputs: [`${i}.gated`] },
    );
    x = addAndNormalise(apply("down", `${i}.gated`));
  }
  nodes.push({ op: "Identity", inputs: [multiply("head", x, vocabSize, hiddenSize)], outputs: ["logits"] });
  data.close();

  const kvOf = (prefix: string, length: string) =>
    Array.from({ length: nLayers }, (_, i) =>
      ["key", "value"].map((kind) => ({
        ...{ name: `${prefix}.${i}.${kind}`, type: "f32" as const },
        shape: ["batch_size", nKvHeads, length, headDim],
      })),
    ).flat();
  const inputs = [
    { name: "input_ids", type: "i64", shape: ["batch_size", "new"] } as const,
    { name: "attention_mask", type: "i64", shape: ["batch_size", "all"] } as const,
    ...kvOf("past_key_values", "past"),
  ];
  const outputs = [
    { name: "logits", type: "f32", shape: ["batch_size", "new", vocabSize] } as const,
    ...kvOf("present", "all"),
  ];
  const opsets = { "": 21, [microsoft]: 1 };
  const model = onnxBytes({ nodes, tensors, inputs, outputs, opsets }, "model_q4.onnx_data");
  writeFileSync(join(folder, "onnx", "model_q4.onnx"), model);
  writeFileSync(join(folder, "config.json"), JSON.stringify(configOf(shape)));
}

function configOf({ hiddenSize, ffnSize, nLayers, nHeads, nKvHeads, headDim, vocabSize }: DummyShape) {
  return {
    ...{ model_type: "llama", architectures: ["LlamaForCausalLM"], vocab_size: vocabSize },
    ...{ hidden_size: hiddenSize, intermediate_size: ffnSize, num_hidden_layers: nLayers, head_dim: headDim },
    ...{ num_attention_heads: nHeads, num_key_value_heads: nKvHeads, max_position_embeddings: mostPositions },
  };
}

function addRotations(tensors: OnnxTensor[], data: DataFile, { headDim, ropeTheta }: DummyShape): void {
  const half = headDim / 2;
  const tables = { cos: Math.cos, sin: Math.sin } as const;
  for (const [name, of] of Object.entries(tables)) {
    const values = Float32Array.from({ length: mostPositions * half }, (_, i) =>
      of(Math.floor(i / half) * ropeTheta ** (-(i % half) / half)),
    );
    const place = data.write(new Uint8Array(values.buffer));
    tensors.push({ name, type: "f32", shape: [mostPositions, half], values: place });
  }
}

/** Values one after another; where they lie begins at a multiple of a page, so that they may be mapped. */
class DataFile {
  readonly #file: number;
  #end = 0;
  readonly #noise: Uint8Array;

  constructor(path: string) {
    this.#file = openSync(path, "w");
    const bits = new RandomBits(1, 0);
    this.#noise = new Uint8Array(
      Uint32Array.from({ length: writtenAtOnce / 4 }, () => bits.next() * 2 ** 32).buffer,
    );
  }

  write(bytes: Uint8Array): { offset: number; length: number } {
    const offset = Math.ceil(this.#end / 4096) * 4096;
    writeSync(this.#file, bytes, 0, bytes.length, offset);
    this.#end = offset + bytes.length;
    return { offset, length: bytes.length };
  }

  /** The same noise again and again: only its size matters. */
  random(length: number): { offset: number; length: number } {
    const { offset } = this.write(this.#noise.subarray(0, Math.min(length, writtenAtOnce)));
    for (let done = writtenAtOnce; done < length; done += writtenAtOnce) {
      const part = this.#noise.subarray(0, Math.min(length - done, writtenAtOnce));
      writeSync(this.#file, part, 0, part.length, offset + done);
      this.#end = offset + done + part.length;
    }
    return { offset, length };
  }

  same(n: number, value: number): { offset: number; length: number } {
    return this.write(new Uint8Array(new Float32Array(n).fill(value).buffer));
  }

  close(): void {
    closeSync(this.#file);
  }
}
