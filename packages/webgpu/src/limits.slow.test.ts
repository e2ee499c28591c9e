/** The same answers on an adapter that grants as little as WebGPU promises, or less: small workgroups, few and small bindings, no integer dot products. */
import { checkTolerance, conformanceCases } from "@bitnet.ts/core/conformance";
import { describe, expect, it } from "vitest";
import { WebGpuBackend } from "./backend.ts";
import { Device, type DeviceOptions } from "./device.ts";
import { backend } from "./test-device.test.kit.ts";

/** What limits make a difference to: workgroups of a row, rows joined in one kernel, tiles, tables in several bindings, draws. */
const names =
  /^(rmsNormQuant 2560|bitLinear (19 ×|33\+5\+5 × 384)|lora 33|attention 4\/2 heads of 16|head f32 1001|draw from 5 )/;

const options: DeviceOptions = {
  isa: "wgsl-plain",
  limits: {
    maxComputeInvocationsPerWorkgroup: 128,
    maxStorageBuffersPerShaderStage: 8,
    maxStorageBufferBindingSize: 2 ** 18,
    maxBufferSize: 2 ** 18,
  },
};

describe.skipIf(backend === null)("an adapter that grants little", { timeout: 180_000 }, () => {
  const device = backend === null ? null : Device.open(options);
  const cases = conformanceCases().filter(({ name }) => names.test(name));

  it.each(cases.map((testCase) => [testCase.name, testCase] as const))("%s", async (_, testCase) => {
    const found = await device;
    if (found === null) throw new Error("there is no device");
    expect(await checkTolerance(testCase, new WebGpuBackend(found))).toBeNull();
    expect(found.failure).toBeNull();
  });
});

describe.skipIf(backend === null)("an adapter that grants too little", () => {
  it.each([
    ["maxComputeInvocationsPerWorkgroup", 64, 128],
    ["maxStorageBuffersPerShaderStage", 4, 8],
  ])("is refused with what is missing: %s", async (name, granted, needed) => {
    await expect(Device.open({ limits: { [name]: granted } })).rejects.toMatchObject({
      code: "BACKEND_UNAVAILABLE",
      message: expect.stringContaining(`grants ${name} of ${granted}, and ${needed} are needed`),
    });
  });
});
