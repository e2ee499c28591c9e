/** The same metadata in other words that files have been seen to have: numbers of other types, lists for each layer, no optional keys. */
import type { GgufValue } from "@bitnet.ts/core";
import type { CheckpointShape } from "./random-checkpoint.ts";
import { seededIntegers } from "./seeded.ts";

/** Numbers that readers know from elsewhere. */
const optional = /\.(vocab_size|rope\.dimension_count)$/;
/** What converters of models with unlike layers write once for each. */
const perLayer = /\.(attention\.head_count|attention\.head_count_kv|feed_forward_length)$/;
const bits = { u8: 8, u16: 16, u32: 32, i8: 7, i16: 15, i32: 31 } as const;

export function oddMetadata(
  metadata: ReadonlyMap<string, GgufValue>,
  { layers }: CheckpointShape,
  seed: number,
): Map<string, GgufValue> {
  const random = seededIntegers(seed + 1);
  const odd = new Map<string, GgufValue>();
  for (const [key, value] of shuffled([...metadata], seed)) {
    if (optional.test(key) && random() % 2 === 0) continue;
    if (perLayer.test(key) && value.type === "u32" && random() % 2 === 0) {
      const list = new Int32Array(layers).fill(value.value);
      odd.set(key, { type: "array", of: "i32", value: list });
    } else odd.set(key, key === "general.alignment" ? value : retyped(value, random));
  }
  return odd;
}

function retyped(value: GgufValue, random: () => number): GgufValue {
  if (value.type === "f32") return random() % 2 === 0 ? value : { type: "f64", value: value.value };
  if (value.type !== "u32") return value;
  const fitting = (Object.keys(bits) as (keyof typeof bits)[]).filter(
    (type) => value.value < 2 ** bits[type],
  );
  const types = [...fitting, "u64", "i64"] as const;
  const type = types[random() % types.length] ?? "u32";
  return type === "u64" || type === "i64"
    ? { type, value: BigInt(value.value) }
    : { type, value: value.value };
}

export function shuffled<T>(list: readonly T[], seed: number): T[] {
  const random = seededIntegers(seed + 7);
  const copy = [...list];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = random() % (i + 1);
    [copy[i], copy[j]] = [copy[j] as T, copy[i] as T];
  }
  return copy;
}
