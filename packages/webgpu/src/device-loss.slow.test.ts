/**
 * A device that is lost at any call: whatever is under way fails with its code, nothing waits for ever, nothing but errors of this library comes out, and
 * the next load has the answers.
 */
import { BitNetError, type Executable, type Step } from "@bitnet.ts/core";
import { conformanceCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it } from "vitest";
import { WebGpuBackend } from "./backend.ts";
import { Device } from "./device.ts";
import { backend } from "./test-device.test.kit.ts";

const options = { kvType: "f16", nPages: 4, maxRows: 64 } as const;

/** Calls of a device and its queue at which it can be lost. */
const methods = ["createBuffer", "createBindGroup", "createComputePipelineAsync", "popErrorScope"] as const;
const ofQueue = ["writeBuffer", "submit", "onSubmittedWorkDone"] as const;

/** Destroys the device at its call number `at`, before or after the call is made; null: only counts. */
function loseAt({ gpu }: Device, at: number | null, isAfter: boolean): { nCalls: number } {
  const counted = { nCalls: 0 };
  const wrap = (owner: object, name: string) => {
    const call = (owner as Record<string, (...given: unknown[]) => unknown>)[name]?.bind(owner);
    Object.defineProperty(owner, name, {
      value: (...given: unknown[]) => {
        const isNow = counted.nCalls++ === at;
        if (isNow && !isAfter) gpu.destroy();
        const result = call?.(...given);
        if (isNow && isAfter) gpu.destroy();
        return result;
      },
    });
  };
  for (const name of methods) wrap(gpu, name);
  for (const name of ofQueue) wrap(gpu.queue, name);
  return counted;
}

describe.skipIf(backend === null)("a device that is lost at any call", { timeout: 300_000 }, () => {
  // Others take the same ways, and two minutes.
  it.each(["residual 7"])("while it loads and runs %s", async (name) => {
    const found = conformanceCases().find((each) => each.name === name);
    const [first] = found?.steps ?? [];
    if (found === undefined || first === undefined) throw new Error(`no case "${name}"`);
    const heads = first.heads.filter(({ want }) => want.kind === "top" || want.kind === "all");
    const step: Step = { ...first, heads };
    const { program, maxRows } = found;
    const loadOptions = { ...options, maxRows };
    const work = async (own: WebGpuBackend) => {
      const executable: Executable = await own.load(program, loadOptions);
      try {
        return await executable.run(step);
      } finally {
        await executable.dispose();
      }
    };
    const counting = await Device.open();
    const counted = loseAt(counting, null, false);
    const expected = await work(new WebGpuBackend(counting));
    const { nCalls } = counted;
    counting.destroy();
    expect(nCalls).toBeGreaterThan(10);
    for (let at = 0; at < nCalls; at++)
      for (const isAfter of [false, true]) {
        const device = await Device.open();
        loseAt(device, at, isAfter);
        const own = new WebGpuBackend(device);
        const error = await work(own).then(
          () => null,
          (thrown: unknown) => thrown,
        );
        // Lost after the answers have been copied, nobody needs to notice.
        if (error === null && at === nCalls - 1) continue;
        expect(error, `call ${at} of ${nCalls}`).toBeInstanceOf(BitNetError);
        expect(error, `call ${at} of ${nCalls}`).toMatchObject({ code: "BACKEND_FAILED" });
        await own.dispose();
      }
    const after = new WebGpuBackend(await Device.open());
    expect(await work(after)).toEqual(expected);
    await after.dispose();
  });
});
