/** NumPy's .npy format, version 1.0: a matrix of numbers behind a short header, padded so that the numbers begin at a multiple of 64. */

const dtypes = { f32: "<f4", int8: "|i1", uint8: "|u1" } as const;

export function npyHeader(dtype: keyof typeof dtypes, rows: number, cols: number): Uint8Array {
  const text = `{'descr': '${dtypes[dtype]}', 'fortran_order': False, 'shape': (${rows}, ${cols}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64;
  const header = Buffer.alloc(length, " ");
  header.write("\x93NUMPY\x01\x00", 0, "latin1");
  header.writeUInt16LE(length - 10, 8);
  header.write(text, 10, "latin1");
  header[length - 1] = 0x0a;
  return header;
}
