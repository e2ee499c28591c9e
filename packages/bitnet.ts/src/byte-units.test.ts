import { expect, it } from "vitest";
import { tellApart } from "./byte-units.ts";

const gib = 2 ** 30;

it.each([
  [3 * gib, gib, "3.0 GiB", "1.0 GiB"],
  [gib + 2 ** 20, gib, "1025.0 MiB", "1024.0 MiB"],
  [2 ** 20, 0, "1.0 MiB", "0.0 MiB"],
  [gib + 1, gib, "1073741825 bytes", "1073741824 bytes"],
])("%i and %i", (larger, smaller, ...texts) => {
  expect(tellApart(larger, smaller)).toEqual(texts);
});
