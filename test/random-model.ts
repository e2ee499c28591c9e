/** Random models of every family, in random formats of all that can hold them: what families.test.ts runs and converts. */
import { BitNetError, isGroupPacking, type PackingId, packings } from "@bitnet.ts/core";
import type { GgufChoices } from "./checkpoint-gguf.ts";
import type { HfChoices } from "./checkpoint-hf.ts";
import type { Format } from "./checkpoint-run.ts";
import type { CheckpointShape, Rotation } from "./random-checkpoint.ts";
import { seededIntegers } from "./seeded.ts";

export interface RandomModel {
  name: string;
  shape: CheckpointShape;
  /** The first of each kind is what the others of the kind are compared with. */
  gguf: Format[];
  hf: Format[];
}

const families = ["bitnet-b1.58", "bitnet", "llama", "qwen2", "qwen3", "gemma3", "minicpm"] as const;

class Draw {
  readonly next: () => number;
  constructor(seed: number) {
    // Seeds that are near each other would begin alike.
    let mixed = Math.imul(seed + 1, 0x9e3779b1);
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    this.next = seededIntegers(mixed ^ (mixed >>> 13));
    for (let i = 0; i < 8; i++) this.next();
  }
  below(n: number): number {
    return this.next() % n;
  }
  chance(of: number, outOf: number): boolean {
    return this.below(outOf) < of;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

export function randomModel(seed: number): RandomModel {
  const draw = new Draw(seed);
  const shape = randomShape(draw);
  const gguf = ggufFormats(draw, shape);
  // Folders of floats may have any scales; packed ones, and masters, have one for each matrix.
  const hf = shape.isGrouped ? productFormats(draw, shape) : hfFormats(draw, shape);
  const traits = [
    shape.family,
    ...(shape.isGrouped ? ["in groups"] : []),
    ...(shape.isBinary ? ["binary"] : []),
    ...(shape.hasInnerNorms ? ["norms inside"] : []),
    ...(shape.yarn ? ["yarn"] : []),
    ...(shape.rotation ? [shape.rotation.kind] : []),
    `${shape.hidden}/${shape.ffn}, ${shape.heads}/${shape.kvHeads} heads of ${shape.headDim}`,
  ];
  return { name: `seed ${seed}: ${traits.join(", ")}`, shape, gguf, hf };
}

function randomShape(draw: Draw): CheckpointShape {
  const family = draw.pick(families);
  const isGrouped = draw.chance(1, 3);
  const isBinary = draw.chance(1, 6);
  // What columns are multiples of decides which packings can hold them.
  const unit = isGrouped ? 128 : draw.pick([8, 64, 128, 256]);
  const headDim = unit === 8 ? 4 * (1 + draw.below(20)) : draw.pick([16, 32, 64, 128]);
  const kvHeads = 1 + draw.below(3);
  const fewest = unit === 8 ? 2 : unit / gcd(unit, kvHeads * headDim); // heads of q times headDim are a multiple of the unit
  const heads = kvHeads * fewest * (1 + draw.below(unit === 8 ? 3 : 1));
  const layers = 1 + draw.below(3);
  const context = draw.pick([33, 64, 100, 300]);
  const tokens = 260 + 4 * draw.below(20);
  const drawn = draw.chance(1, 2) ? randomRotation(draw, headDim, context) : {};
  // This rule is only in folders, and these are only in GGUF files.
  const isNowhere = isGrouped && family.startsWith("bitnet") && drawn.rotation?.kind === "dynamic";
  const rotation = isNowhere ? {} : drawn;
  return {
    family,
    ...{ context, headDim, heads, kvHeads, layers, tokens, isBinary, isGrouped },
    ...{ hidden: unit * (1 + draw.below(sizesOf(unit))), ffn: unit * (1 + draw.below(sizesOf(unit) + 1)) },
    ...{ vocab: tokens + 4 * draw.below(2), theta: draw.pick([500, 10000, 500000, 1e6]) },
    ...{
      eps: draw.pick([1e-5, 1e-6, 1e-3]),
      isTied: draw.chance(1, 2),
      embeddingBits: draw.pick([4, 6, 8] as const),
    },
    ...(draw.chance(1, 5) ? { hasInnerNorms: true } : {}),
    ...(family === "gemma3"
      ? { window: { size: 1 + draw.below(6), pattern: 1 + draw.below(4), theta: draw.pick([500, 10000]) } }
      : {}),
    ...(family === "minicpm"
      ? {
          factors: {
            embedding: draw.pick([1, 12]),
            residual: draw.pick([0.25, 1]),
            logits: draw.pick([0.125, 1]),
          },
        }
      : {}),
    ...rotation,
  };
}

/** Multiples of a unit: few of large ones, since the judges are slow. */
function sizesOf(unit: number): number {
  return unit === 8 ? 30 : unit === 256 ? 2 : 3;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function randomRotation(
  draw: Draw,
  headDim: number,
  context: number,
): Pick<CheckpointShape, "yarn" | "rotation"> {
  const original = draw.pick([16, context, 2 * context]);
  const sixteenths = () => Array.from({ length: headDim / 2 }, () => 1 + draw.below(48) / 16);
  const of = (rotation: Rotation) => ({ rotation });
  switch (draw.below(5)) {
    case 0:
      return { yarn: { factor: draw.pick([2, 4, 8]), original: draw.pick([16, 32, 64]) } };
    case 1:
      return of({ kind: "linear", factor: draw.pick([2, 2.5, 8]) });
    case 2:
      return of({ kind: "llama3", factor: 8, low: 1, high: 4, original: draw.pick([32, 256, 8192]) });
    case 3:
      return of({
        kind: "longrope",
        ...{ short: sixteenths(), long: sixteenths(), original, attention: draw.pick([1, 1.25]) },
      });
    default:
      return headDim > 2 ? of({ kind: "dynamic", factor: draw.pick([2, 4]), original }) : {};
  }
}

const tensorPackings = ["i2_s_64", "i2_s_rows4", "tq1_0", "tq2_0", "iq1_bn", "iq2_bn"] as const;
const groupPackings = ["q2_0", "q2_0_128", "ptq1_0", "q1_0"] as const;
const i2sLayouts = { i2_s_64: "64/16", i2_s_rows4: "rows4" } as const;
const floats = ["f32", "f16", "bf16"] as const;

function ggufFormats(draw: Draw, shape: CheckpointShape): Format[] {
  // No key of GGUF says this rule.
  if (shape.rotation?.kind === "dynamic") return [];
  const bases: [name: string, choices: Pick<GgufChoices, "ternary">][] = [];
  const add = (packing: Exclude<PackingId, "hf_u8">) =>
    bases.push([packing, { ternary: { kind: "packed", packing } }]);
  if (shape.isGrouped) add("pq2_0");
  else if (holdsAll("i2_s", shape)) add("i2_s");
  for (const packing of shape.isGrouped ? groupPackings : tensorPackings) {
    if (packing === "q1_0" && !shape.isBinary) continue;
    if (holdsAll(packing, shape) && draw.chance(1, 2)) add(packing);
  }
  if (!shape.isGrouped) {
    const isMaster = shape.family.startsWith("bitnet") && !shape.isBinary && draw.chance(1, 2);
    const kind = isMaster ? "masters" : "products";
    bases.push([kind, { ternary: { kind, type: draw.pick(floats) } }]);
  }
  return bases.map(([name, choices], i) => {
    const layout = i2sLayouts[name as keyof typeof i2sLayouts];
    const parts = draw.chance(1, 4) ? { parts: 2 + draw.below(2) } : {};
    return {
      name: `GGUF ${name}`,
      ...(layout === undefined ? {} : { i2sLayout: layout }),
      ...(i === 0 ? {} : parts),
      gguf: {
        ...choices,
        norm: draw.pick(floats),
        embedding: embeddingType(draw, shape),
        ...(i === 0
          ? {}
          : {
              // Padding hides which of the two Q2_0 a file of small tensors has.
              alignment: draw.pick(name.startsWith("q2_0") ? [8, 32] : [8, 32, 64, 4096]),
              oddity: draw.below(1000),
            }),
      },
    };
  });
}

/** Types that hold the embedding without loss. */
function embeddingType(
  draw: Draw,
  { hidden, embeddingBits }: CheckpointShape,
): NonNullable<GgufChoices["embedding"]> {
  const types: NonNullable<GgufChoices["embedding"]>[] = ["f16", "bf16", "f32"];
  if (hidden % 32 === 0) types.push("q8_0");
  if (hidden % 32 === 0 && embeddingBits === 4) types.push("q4_0");
  if (hidden % 256 === 0 && embeddingBits <= 6) types.push("q6_k");
  return draw.pick(types);
}

function holdsAll(packing: PackingId, { hidden, ffn, heads, kvHeads, headDim }: CheckpointShape): boolean {
  const matrices = [
    [heads * headDim, hidden],
    [kvHeads * headDim, hidden],
    [hidden, heads * headDim],
    [ffn, hidden],
    [hidden, ffn],
  ] as const;
  return matrices.every(([rows, cols]) => {
    try {
      packings[packing].byteLength({ rows, cols });
      return !isGroupPacking(packing) || cols % 128 === 0;
    } catch (error) {
      if (error instanceof BitNetError) return false;
      throw error;
    }
  });
}

function hfFormats(draw: Draw, shape: CheckpointShape): Format[] {
  const stores: HfChoices["ternary"][] = ["multiplies", "divides", "masters", "trits"];
  const first = shape.isBinary ? "masters" : draw.pick(stores);
  const binary = {
    quantization_config: { quant_method: "bitnet", quantization_mode: "online", weight_bits: 1 },
  };
  return [first, ...stores].flatMap((ternary, i): Format[] => {
    if (i > 0 && (ternary === first || !draw.chance(2, 3))) return [];
    const shards = draw.pick([1, 1, 2, 3]);
    return [
      {
        name: `HF ${ternary}`,
        hf: {
          ternary,
          floats: draw.pick(floats),
          ...{ shards, padding: draw.below(9), hasNoIndex: draw.chance(1, 3) },
          scaleShape: draw.pick([[1], [], [1, 1]]),
          hasIdleHead: shape.isTied && draw.chance(1, 3),
          config: {
            head_dim: shape.headDim,
            ...(shape.isBinary && ternary === "masters" ? binary : {}),
          },
        },
      },
    ];
  });
}

/** What weight-only models are as floats. */
function productFormats(draw: Draw, shape: CheckpointShape): Format[] {
  if (shape.family.startsWith("bitnet")) return []; // their floats are masters
  return [1, 2].map((shards) => {
    const type = draw.pick(floats);
    const config = { head_dim: shape.headDim };
    return { name: `HF ${type} products`, hf: { ternary: "products", floats: type, shards, config } };
  });
}
