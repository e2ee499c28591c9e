/** Numbers as a person would have written them into config.json. */

/** GGUF keeps numbers in f32: the shortest decimal that is the same in f32. */
export function shortest(value: number): number {
  return shortestWith(value, (short) => Math.fround(short) === Math.fround(value));
}

/** The shortest decimal near `value` that `isRight`; `value` itself where none is. */
export function shortestWith(value: number, isRight: (short: number) => boolean): number {
  for (let digits = 1; digits < 17; digits++) {
    const short = Number(value.toPrecision(digits));
    if (isRight(short)) return short;
  }
  return value;
}
