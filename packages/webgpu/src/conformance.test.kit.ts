/** The conformance suite on the device that there is: every operation within its bounds. */
import { checkTolerance, conformanceCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it } from "vitest";
import { backend, device } from "./test-device.test.kit.ts";

/** What a software adapter or the reference takes many seconds for. */
const isSlow = (name: string) =>
  /^(expanded )?(attention (?!1\/1|2\/2)|head f16 (3000|1001)|bitLinear (2560|6912|2048|34|17|19) )/.test(
    name,
  );

/** `npm run check` takes every third of the fast ones. */
const isQuick = process.env.BITNET_QUICK === "1";

export function describeConformance(speed: "fast" | "slow"): void {
  const cases = conformanceCases()
    .filter(({ name }) => isSlow(name) === (speed === "slow"))
    .filter((_, i) => !isQuick || i % 3 === 0);
  describe.skipIf(backend === null)("operations", () => {
    it.each(cases.map((testCase) => [testCase.name, testCase] as const))("%s", async (_, testCase) => {
      expect(await checkTolerance(testCase, device())).toBeNull();
    });
  });
}
