/** Writes a safetensors file as a stream of pieces. Source: the format description of Hugging Face. */
export interface SafetensorsInput {
  readonly name: string;
  readonly type: "F32" | "BF16";
  readonly shape: readonly number[];
  /** Its bytes, little-endian; asked for when its turn comes. */
  readonly data: () => Uint8Array;
}

const bytesOf = { F32: 4, BF16: 2 } as const;

export function* safetensorsPieces(
  tensors: readonly SafetensorsInput[],
  metadata: Readonly<Record<string, string>> = {},
): Generator<Uint8Array> {
  let offset = 0;
  const entries = tensors.map(({ name, type, shape }) => {
    const begin = offset;
    offset += shape.reduce((product, n) => product * n, 1) * bytesOf[type];
    return [name, { dtype: type, shape, data_offsets: [begin, offset] }] as const;
  });
  const json = JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) });
  const header = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = new DataView(new ArrayBuffer(8));
  length.setBigUint64(0, BigInt(header.length), true);
  yield new Uint8Array(length.buffer);
  yield header;
  for (const { data } of tensors) yield data();
}
