import { readFileSync } from "node:fs";
import { elementaryConstants } from "@bitnet.ts/core";
import { expect, test } from "vitest";
import { renderConstantsHeader } from "./generate-constants.ts";

test("the committed header equals the rendered constants", () => {
  const committed = readFileSync(
    new URL("../../engine/kernels/constants.generated.h", import.meta.url),
    "utf8",
  );
  expect(committed).toBe(renderConstantsHeader());
});

test("every literal reads back as the constant", () => {
  const literals = [...renderConstantsHeader().matchAll(/(-?)0x1(?:\.([0-9a-f]+))?p([+-]\d+)f/g)].map(
    ([, sign, fraction = "", exponent]) =>
      (sign === "-" ? -1 : 1) *
      (1 + Number.parseInt(`0${fraction}`, 16) / 16 ** fraction.length) *
      2 ** Number(exponent),
  );
  const floats = Object.entries(elementaryConstants).flatMap(([name, value]) =>
    name.endsWith("Bits") ? [] : value,
  );
  expect(literals).toEqual(floats);
});
