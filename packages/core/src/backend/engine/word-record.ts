/**
 * Records of named fields as words of 32 bits, in the order of their table and in the layout of the C++ struct that is made from it. Knows no
 * record; those stand in engine-records.ts.
 */

/** `integer` and `unsigned` take a word, like `float`, `flag` and `choice`; a `double` takes two, the first at an even place. */
type WordField =
  | { type: "integer"; least: number; most: number }
  | { type: "unsigned" | "float" | "double" | "flag" }
  | {
      type: "choice";
      /** Name of the enumeration in C++. */
      enumeration: string;
      /** The kernels declare it, whose numbers are then those of `of`. */
      isKernels?: true;
      of: readonly string[];
    };

export interface EngineRecord {
  /** What the record is, for the generated struct. */
  does: string;
  fields: Readonly<Record<string, WordField>>;
}

type ValueOf<F extends WordField> = F extends { of: readonly (infer C)[] }
  ? C
  : F extends { type: "flag" }
    ? boolean
    : number;

/** The values of a record, by name. */
export type RecordValues<R extends EngineRecord> = {
  readonly [name in keyof R["fields"]]: ValueOf<R["fields"][name]>;
};

/** How many words a record takes: with a double among its fields, a whole number of pairs. */
export function wordsOf({ fields }: EngineRecord): number {
  let n = 0;
  let hasPair = false;
  for (const { type } of Object.values(fields)) {
    n += type === "double" ? 2 : 1;
    hasPair ||= type === "double";
  }
  return hasPair ? n + (n % 2) : n;
}

/** Writes a record from word `at` on. @returns The place after it. */
export function writeRecord<R extends EngineRecord>(
  words: Int32Array,
  at: number,
  record: R,
  values: RecordValues<R>,
): number {
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
  const byName = values as Readonly<Record<string, number | boolean | string>>;
  let byte = 4 * at;
  for (const [name, field] of Object.entries(record.fields)) {
    const value = byName[name];
    switch (field.type) {
      case "float":
        view.setFloat32(byte, Number(value), true);
        break;
      case "double":
        view.setFloat64(byte, Number(value), true);
        byte += 4;
        break;
      case "choice":
        view.setInt32(byte, field.of.indexOf(String(value)), true);
        break;
      case "integer":
      case "unsigned":
      case "flag":
        view.setInt32(byte, Number(value), true);
        break;
    }
    byte += 4;
  }
  return at + wordsOf(record);
}

/** A record in words of its own. */
export function recordWords<R extends EngineRecord>(record: R, values: RecordValues<R>): Int32Array {
  const words = new Int32Array(wordsOf(record));
  writeRecord(words, 0, record, values);
  return words;
}

/** Reads a record from word `at` of a buffer on. */
export function readRecord<R extends EngineRecord>(
  buffer: ArrayBuffer,
  at: number,
  record: R,
): RecordValues<R> {
  const view = new DataView(buffer);
  let byte = 4 * at;
  const read = (field: WordField): number | boolean | string | undefined => {
    switch (field.type) {
      case "float":
        return view.getFloat32(byte, true);
      case "double":
        byte += 4;
        return view.getFloat64(byte - 4, true);
      case "choice":
        return field.of[view.getInt32(byte, true)];
      case "integer":
        return view.getInt32(byte, true);
      case "unsigned":
        return view.getUint32(byte, true);
      case "flag":
        return view.getInt32(byte, true) !== 0;
    }
  };
  const values: Record<string, number | boolean | string | undefined> = {};
  for (const [name, field] of Object.entries(record.fields)) {
    values[name] = read(field);
    byte += 4;
  }
  return values as RecordValues<R>;
}
