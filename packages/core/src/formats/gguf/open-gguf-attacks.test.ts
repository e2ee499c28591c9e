/** Headers built to make a reader allocate, wrap, loop or read outside: each is refused with the right reason. */
import { describe, expect, test } from "vitest";
import { type ByteSource, bytesSource } from "../../base/byte-source.ts";
import { entry, errorOf, info, rawGguf, text, u32, u64 } from "../raw-bytes.test.fixture.ts";
import { openGguf } from "./open-gguf.ts";

const failure = (bytes: Uint8Array) => errorOf(() => openGguf(bytesSource(bytes)));

describe("attacks", () => {
  const cases: Record<string, [Uint8Array, string, RegExp]> = {
    "n_tensors = −1": [
      rawGguf({ nTensors: -1 }),
      "FORMAT_TRUNCATED",
      /number of tensors claims 18446744073709551615/,
    ],
    "n_kv = −1": [rawGguf({ nMetadata: -1 }), "FORMAT_TRUNCATED", /number of metadata entries claims/],
    "a string of nearly 2^64 bytes": [
      rawGguf({ metadata: [entry("k", 8, u64(-16n))], dataBytes: 64 }),
      "FORMAT_TRUNCATED",
      /metadata "k" claims 18446744073709551600/,
    ],
    "a key of 2^40 bytes": [
      rawGguf({ metadata: [[...u64(2 ** 40), 1, 2]], dataBytes: 64 }),
      "FORMAT_TRUNCATED",
      /a metadata key claims/,
    ],
    "a string above the cap": [
      rawGguf({ metadata: [entry("k", 8, u64(2 ** 24 + 1))], dataBytes: 2 ** 24 + 100 }),
      "FORMAT_INVALID",
      /16777217 bytes in metadata "k", expected at most 16777216/,
    ],
    "an array of 2^61 u64": [
      rawGguf({ metadata: [entry("k", 9, [...u32(10), ...u64(2n ** 61n)])], dataBytes: 64 }),
      "FORMAT_TRUNCATED",
      /length of metadata "k" claims/,
    ],
    "an array above the cap": [
      rawGguf({ metadata: [entry("k", 9, [...u32(0), ...u64(2 ** 26 + 1)])], dataBytes: 2 ** 26 + 100 }),
      "FORMAT_INVALID",
      /elements in metadata "k", expected at most 67108864/,
    ],
    "an array of arrays": [
      rawGguf({ metadata: [entry("k", 9, [...u32(9), ...u64(1), ...u32(0), ...u64(0)])], dataBytes: 64 }),
      "FORMAT_UNSUPPORTED",
      /array of arrays/,
    ],
    "an unknown value type": [
      rawGguf({ metadata: [entry("k", 13, u64(0))], dataBytes: 64 }),
      "FORMAT_INVALID",
      /metadata "k" is of the unknown type 13/,
    ],
    "a bool of 2": [rawGguf({ metadata: [entry("k", 7, [2])] }), "FORMAT_INVALID", /bool is 2/],
    "a bool of 3 in an array": [
      rawGguf({ metadata: [entry("k", 9, [...u32(7), ...u64(2), 1, 3])] }),
      "FORMAT_INVALID",
      /bool is 3/,
    ],
    "a key twice": [
      rawGguf({ metadata: [entry("k", 0, [1]), entry("k", 0, [1])] }),
      "FORMAT_INVALID",
      /"k" comes twice/,
    ],
    "a key that is not UTF-8": [
      rawGguf({ metadata: [[...u64(2), 0xff, 0xfe, ...u32(0), 1]] }),
      "FORMAT_INVALID",
      /metadata key is not UTF-8/,
    ],
    "a tensor twice": [
      rawGguf({ tensors: [info("t", [8], 0, 0), info("t", [8], 0, 32)], dataBytes: 64 }),
      "FORMAT_INVALID",
      /tensor "t" comes twice/,
    ],
    "five dimensions": [
      rawGguf({ tensors: [info("t", [1, 1, 1, 1, 1], 0, 0)], dataBytes: 64 }),
      "FORMAT_INVALID",
      /5 dimensions of tensor "t", expected at most 4/,
    ],
    "2^32 − 1 dimensions": [
      rawGguf({ tensors: [[...text("t"), ...u32(-1), ...u64(1)]], dataBytes: 64 }),
      "FORMAT_INVALID",
      /4294967295 dimensions/,
    ],
    "a product of dimensions that wraps to 0": [
      rawGguf({ tensors: [info("t", [2n ** 32n, 2n ** 32n], 0, 0)], dataBytes: 64 }),
      "FORMAT_INVALID",
      /impossible shape \[4294967296, 4294967296\]/,
    ],
    "a dimension of 2^64 − 1": [
      rawGguf({ tensors: [info("t", [-1n], 0, 0)], dataBytes: 64 }),
      "FORMAT_INVALID",
      /impossible shape/,
    ],
    "infinity times zero": [
      rawGguf({ tensors: [info("t", [-1n, 0], 0, 0)], dataBytes: 64 }),
      "FORMAT_INVALID",
      /impossible shape/,
    ],
    "an offset near 2^64": [
      rawGguf({ tensors: [info("t", [8], 0, -32n)], dataBytes: 64 }),
      "FORMAT_INVALID",
      /tensor "t" has an impossible offset/,
    ],
    "an offset past the end, type of unknown size": [
      rawGguf({ tensors: [info("t", [8], 4711, 2 ** 40)], dataBytes: 64 }),
      "FORMAT_TRUNCATED",
      /tensor "t"/,
    ],
    "tensors that overlap": [
      rawGguf({ tensors: [info("a", [16], 0, 0), info("b", [8], 0, 32)], dataBytes: 64 }),
      "FORMAT_INVALID",
      /tensor "a" needs 64 bytes, but the next tensor starts after 32/,
    ],
    "two tensors at one place": [
      rawGguf({ tensors: [info("a", [8], 0, 0), info("b", [8], 0, 0)], dataBytes: 64 }),
      "FORMAT_INVALID",
      /but the next tensor starts after 0/,
    ],
    "an offset out of alignment": [
      rawGguf({ tensors: [info("t", [8], 0, 4)], dataBytes: 64 }),
      "FORMAT_INVALID",
      /expected a multiple of 32/,
    ],
  };
  for (const value of [0, 3, 2 ** 21, 0x80000000]) {
    cases[`alignment ${value}`] = [
      rawGguf({ metadata: [entry("general.alignment", 4, u32(value))] }),
      "FORMAT_INVALID",
      /general.alignment is \d+, expected a u32 power of two/,
    ];
  }
  cases["an alignment that is a string"] = [
    rawGguf({ metadata: [entry("general.alignment", 8, text("32"))] }),
    "FORMAT_INVALID",
    /general.alignment/,
  ];

  test.each(Object.entries(cases))("%s", async (_, [bytes, code, message]) => {
    const error = await failure(bytes);
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
  });

  test("a header cut off at any byte", async () => {
    const file = rawGguf({
      metadata: [
        entry("k", 8, text("value")),
        entry("a", 9, [...u32(8), ...u64(2), ...text("x"), ...text("yz")]),
      ],
      tensors: [info("t", [8], 0, 0)],
    });
    expect((await failure(file)).message).toMatch(/tensor "t" needs 32 bytes/);
    for (let length = 4; length < file.length; length++) {
      const error = await failure(file.slice(0, length));
      expect(error.code, `cut at ${length}: ${error.message}`).toBe("FORMAT_TRUNCATED");
    }
  });
});

describe("a header of zeros without end", () => {
  /** Says that `n` strings follow, all empty: only zeros, as in a sparse file. */
  const sparse = (n: number, nBytes: number): ByteSource & { nRead: number } => {
    const start = rawGguf({ nMetadata: 1, metadata: [entry("k", 9, [...u32(8), ...u64(n)])] });
    return {
      name: "sparse.gguf",
      size: nBytes,
      nRead: 0,
      async read(offset, length) {
        this.nRead += length;
        const bytes = new Uint8Array(length);
        bytes.set(start.subarray(offset, Math.min(start.length, offset + length)));
        return bytes;
      },
      async close() {},
    };
  };

  test("is read no further than 128 MiB", async () => {
    const source = sparse(2 ** 26, 2 ** 30);
    const error = await errorOf(() => openGguf(source));
    expect(error.message).toMatch(/larger than 128 MiB/);
    expect(source.nRead).toBeLessThan(2 ** 27 + 2 ** 23);
  });

  test("lets others have their turn, and obeys the signal", async () => {
    const source = sparse(2 ** 26, 2 ** 30);
    const controller = new AbortController();
    // Reading from memory gives the event loop no turn by itself.
    setImmediate(() => controller.abort());
    expect((await errorOf(() => openGguf(source, { signal: controller.signal }))).code).toBe("ABORTED");
    expect(source.nRead).toBeLessThan(2 ** 26);
  });
});
