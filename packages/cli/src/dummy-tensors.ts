/**
 * Seeded random contents for tensors, fast enough to fill gigabytes: every 16 random bits pick one entry of a table that holds
 * only valid 16-bit pieces of the format. Knows nothing of models.
 */
import { f32ToF16 } from "@bitnet.ts/core";
import type { DummyPacking } from "./dummy-shapes.ts";
import type { PieceTable, RandomBits } from "./random-bits.ts";

const chunkBytes = 2 ** 20;

/** Two bytes drawn from `bytes`, each nearly as often as any other. */
function bytePairs(bytes: Uint8Array): PieceTable {
  const n = bytes.length;
  return Uint16Array.from({ length: 65536 }, (_, random) => {
    const pair = Math.floor((random * n * n) / 65536);
    return (bytes[pair % n] ?? 0) | ((bytes[Math.floor(pair / n)] ?? 0) << 8);
  });
}

/** Bytes of four two-bit codes 0, 1, 2: never 3, which no valid file holds. */
function twoBitBytes(): Uint8Array {
  return Uint8Array.from({ length: 81 }, (_, i) => {
    const digit = (place: number) => Math.floor(i / 3 ** place) % 3;
    return digit(0) | (digit(1) << 2) | (digit(2) << 4) | (digit(3) << 6);
  });
}

/** Bytes of TQ1_0: the number Σ digit · 3^place, below 243, as a fraction in 256ths rounded up. */
function baseThreeBytes(nDigits: 4 | 5): Uint8Array {
  const step = nDigits === 5 ? 1 : 3; // four digits leave the last place at 0
  return Uint8Array.from({ length: 243 / step }, (_, i) => Math.ceil((i * step * 256) / 243));
}

/** f16 values of about normal distribution with standard deviation 1 / √cols: the logits of a tied head come out near 1. */
function embeddingPieces(cols: number, random: RandomBits): PieceTable {
  const deviation = 1 / Math.sqrt(cols);
  return Uint16Array.from({ length: 65536 }, () => {
    let sum = -6; // the sum of twelve uniform numbers has variance 1
    for (let i = 0; i < 12; i++) sum += random.next();
    return f32ToF16(sum * deviation);
  });
}

/** An embedding [rows, cols] in f16, in chunks; a chunk is overwritten by the next one. */
export function* embeddingChunks(rows: number, cols: number, random: RandomBits): Generator<Uint8Array> {
  const pieces = embeddingPieces(cols, random);
  yield* chunks(rows * cols * 2, 4, (chunk) => random.fill(chunk, pieces));
}

/** Norm weights [n] in f32 about 1. */
export function normBytes(n: number, random: RandomBits): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * n));
  for (let i = 0; i < n; i++) view.setFloat32(4 * i, 0.95 + 0.1 * random.next(), true);
  return new Uint8Array(view.buffer);
}

interface BlockLayout {
  weights: number;
  blockBytes: number;
  /** Where its f16 scale stands, in 16-bit words. */
  scaleWord: number;
  /** Words with four digits a byte instead of five. */
  shortWords: readonly number[];
}

const blockLayouts: Readonly<Record<Exclude<DummyPacking, "i2_s">, BlockLayout>> = {
  tq1_0: { weights: 256, blockBytes: 54, scaleWord: 26, shortWords: [24, 25] },
  tq2_0: { weights: 256, blockBytes: 66, scaleWord: 32, shortWords: [] },
  q2_0: { weights: 64, blockBytes: 18, scaleWord: 0, shortWords: [] },
  pq2_0: { weights: 128, blockBytes: 34, scaleWord: 0, shortWords: [] },
};

let twoBitPairs: PieceTable | undefined;
let fiveDigitPairs: PieceTable | undefined;
let fourDigitPairs: PieceTable | undefined;

/**
 * A ternary tensor [rows, cols] of about a third each of −1, 0 and +1, in chunks; a chunk is overwritten by the next one. The scale
 * keeps outputs of unit variance for inputs of unit variance.
 */
export function* ternaryChunks(
  packing: DummyPacking,
  [rows, cols]: readonly [number, number],
  random: RandomBits,
): Generator<Uint8Array> {
  const scale = Math.sqrt(1.5 / cols) * (0.8 + 0.4 * random.next());
  twoBitPairs ??= bytePairs(twoBitBytes());
  if (packing === "i2_s") {
    const pairs = twoBitPairs;
    yield* chunks((rows * cols) / 4, 32, (chunk) => random.fill(chunk, pairs));
    const tail = new DataView(new ArrayBuffer(32));
    tail.setFloat32(0, scale, true);
    yield new Uint8Array(tail.buffer);
    return;
  }
  const { weights, blockBytes, scaleWord, shortWords } = blockLayouts[packing];
  fiveDigitPairs ??= bytePairs(baseThreeBytes(5));
  fourDigitPairs ??= bytePairs(baseThreeBytes(4));
  const [pieces, shortPieces] = [packing === "tq1_0" ? fiveDigitPairs : twoBitPairs, fourDigitPairs];
  const scaleBits = f32ToF16(scale);
  yield* chunks((rows * cols * blockBytes) / weights, 2 * blockBytes, (chunk) => {
    random.fill(chunk, pieces);
    for (let block = 0; block + scaleWord < chunk.length; block += blockBytes / 2) {
      for (const word of shortWords)
        chunk[block + word] = shortPieces[Math.floor(random.next() * 65536)] ?? 0;
      chunk[block + scaleWord] = scaleBits;
    }
  });
}

/** Cuts `total` bytes into chunks of whole units and has each filled in turn, always in the same memory. */
function* chunks(
  total: number,
  unitBytes: number,
  fill: (chunk: Uint16Array) => void,
): Generator<Uint8Array> {
  const words = new Uint16Array((Math.floor(chunkBytes / unitBytes) * unitBytes) / 2);
  for (let done = 0; done < total; done += words.byteLength) {
    const nBytes = Math.min(words.byteLength, total - done);
    // Words are filled in pairs; where the last one has no partner, one word more is filled and left out.
    fill(words.subarray(0, 2 * Math.ceil(nBytes / 4)));
    yield new Uint8Array(words.buffer, 0, nBytes);
  }
}
