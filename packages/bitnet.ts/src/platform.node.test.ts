/** Which backend serves when others cannot, and what is said of that. */
import { fileURLToPath } from "node:url";
import { BitNetError } from "@bitnet.ts/core";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { BitNet } from "./bitnet.ts";
import { backendReport, createBackend } from "./platform.node.ts";

const broken = vi.hoisted(() => ({ native: false, webgpu: "", wasm: "" }));
/** A card that loads nothing. */
const card = vi.hoisted(() => ({ streams: true, load: vi.fn(), dispose: vi.fn() }));
/** What there is of WebGPU, for the report. */
const status = vi.hoisted(() => ({ reason: null as string | null, adapter: null as object | null }));

vi.mock(import("@bitnet.ts/native"), async (original) => {
  const native = await original();
  const createNativeBackend: typeof native.createNativeBackend = (options) => {
    if (broken.native) throw new BitNetError("BACKEND_UNAVAILABLE", "there is no native binary");
    return native.createNativeBackend(options);
  };
  return { ...native, createNativeBackend };
});

vi.mock(import("@bitnet.ts/webgpu"), async (original) => {
  const webgpu = await original();
  const createWebGpuBackend: typeof webgpu.createWebGpuBackend = async (options = {}) => {
    if (broken.webgpu !== "") throw new BitNetError("BACKEND_UNAVAILABLE", broken.webgpu);
    return { name: "webgpu", isa: options.isa ?? "wgsl-dot4", options, rejected: [], ...card } as never;
  };
  return { ...webgpu, createWebGpuBackend, webgpuStatus: async () => status as never };
});

vi.mock(import("@bitnet.ts/wasm"), async (original) => {
  const wasm = await original();
  const createWasmBackend: typeof wasm.createWasmBackend = (options) => {
    if (broken.wasm !== "") throw new BitNetError("BACKEND_UNAVAILABLE", broken.wasm);
    return wasm.createWasmBackend(options);
  };
  return { ...wasm, createWasmBackend };
});

let notices: string[] = [];
const onNotice = (line: string) => void notices.push(line);

beforeEach(() => {
  notices = [];
  Object.assign(broken, { native: false, webgpu: "webgpu: no adapter", wasm: "" });
  for (const name of ["BITNET_BACKEND", "BITNET_ISA", "BITNET_NATIVE_PATH"]) vi.stubEnv(name, "");
});
afterEach(() => vi.unstubAllEnvs());

it("WebGPU serves where there is no native backend but a GPU, never in software", async () => {
  Object.assign(broken, { native: true, webgpu: "" });
  const { backend, passedOver } = await createBackend({ onNotice });
  expect(passedOver).toEqual([{ backend: "native", reason: "there is no native binary" }]);
  expect(backend).toMatchObject({ name: "webgpu", options: { allowFallback: false } });
  expect(notices).toEqual(["bitnet: no native backend (there is no native binary); WebGPU serves"]);
});

it("a card that cannot take the model is let go of for the next backend, unless it was asked for", async () => {
  Object.assign(broken, { native: true, webgpu: "" });
  const full = new BitNetError("OUT_OF_MEMORY", "webgpu: the card has no room for the weights");
  card.load.mockRejectedValue(full);
  const path = fileURLToPath(new URL("../../../test/golden/tiny.gguf", import.meta.url));
  const model = await BitNet.load(path, { onNotice });
  expect(model.info).toMatchObject({
    backend: "wasm",
    passedOver: [
      { backend: "native", reason: "there is no native binary" },
      { backend: "webgpu", reason: "the card has no room for the weights" },
    ],
  });
  await model.dispose();
  expect(notices.at(-1)).toMatch(/no WebGPU \(the card has no room for the weights\); WebAssembly serves$/);
  expect(card.dispose).toHaveBeenCalledOnce();
  await expect(BitNet.load(path, { onNotice, backend: "webgpu" })).rejects.toBe(full);
  // What is wrong with the call or the files is so everywhere.
  card.load.mockRejectedValue(new BitNetError("FORMAT_TRUNCATED", "webgpu: a weight needs 8 bytes, found 3"));
  await expect(BitNet.load(path, { onNotice })).rejects.toMatchObject({ code: "FORMAT_TRUNCATED" });
});

it("a variant of WebGPU chooses the backend, in software too", async () => {
  Object.assign(broken, { webgpu: "" });
  expect((await createBackend({ isa: "wgsl-plain", onNotice })).backend).toMatchObject({
    name: "webgpu",
    options: { isa: "wgsl-plain" },
  });
  expect((await createBackend({ name: "webgpu", onNotice })).backend).toMatchObject({
    name: "webgpu",
    options: {},
  });
});

it("WebAssembly serves where there is neither, and says why", async () => {
  broken.native = true;
  expect((await createBackend({ onNotice, threads: 1 })).backend).toMatchObject({ name: "wasm", threads: 1 });
  expect(notices).toEqual([
    "bitnet: no native backend (there is no native binary), no WebGPU (no adapter); WebAssembly serves",
  ]);
});

it("the reference serves where there is none of them, and says why in one line", async () => {
  Object.assign(broken, { native: true, wasm: "wasm: the plain module cannot be loaded" });
  expect((await createBackend({ onNotice })).backend).toMatchObject({ name: "reference" });
  expect(notices).toEqual([
    "bitnet: no native backend (there is no native binary), no WebGPU (no adapter), no WebAssembly (wasm: the plain module cannot be loaded); the slow reference backend serves",
  ]);
});

it("what was forced is used or refused, without another in its place", async () => {
  Object.assign(broken, { native: true, wasm: "no module" });
  for (const name of ["native", "webgpu", "wasm"] as const)
    await expect(createBackend({ name, onNotice })).rejects.toMatchObject({ code: "BACKEND_UNAVAILABLE" });
  broken.wasm = "";
  expect((await createBackend({ name: "wasm", onNotice })).backend).toMatchObject({ name: "wasm" });
  expect(notices).toEqual([]);
});

it("a variant of WebAssembly chooses the backend, by option or by BITNET_ISA", async () => {
  const isa = "wasm-plain-exact";
  expect((await createBackend({ isa, onNotice })).backend).toMatchObject({ name: "wasm", isa });
  vi.stubEnv("BITNET_ISA", isa);
  expect((await createBackend({ onNotice })).backend).toMatchObject({ name: "wasm", isa });
});

const adapter = {
  name: "vendor card",
  isFallback: false,
  features: ["subgroups"],
  hasDot4: true,
  limits: {
    maxBufferSize: 2 ** 31,
    maxStorageBufferBindingSize: 2 ** 27,
    maxStorageBuffersPerShaderStage: 10,
    maxComputeWorkgroupsPerDimension: 65535,
    maxComputeInvocationsPerWorkgroup: 256,
  },
};
const reported = async () => (await backendReport()).find(({ name }) => name === "webgpu");

it("the report names the adapter, its limits, what it lacks, and each variant with what rejects it", async () => {
  Object.assign(status, { reason: null, adapter });
  expect(await reported()).toMatchObject({
    isAvailable: true,
    detail:
      "vendor card; buffers up to 2048 MiB, bindings up to 128 MiB, 10 at once, workgroups of up to 256; without shader-f16",
    variants: [
      { isa: "wgsl-dot4", verdict: "chosen", reason: "" },
      { isa: "wgsl-plain", verdict: "usable", reason: "" },
    ],
  });
  Object.assign(status, { adapter: { ...adapter, isFallback: true, hasDot4: false } });
  expect(await reported()).toMatchObject({
    detail: expect.stringContaining("vendor card (in software: only when asked for by name); "),
    variants: [
      { isa: "wgsl-dot4", verdict: "rejected", reason: "the language lacks integer dot products here" },
      { isa: "wgsl-plain", verdict: "chosen", reason: "" },
    ],
  });
});

it("the report says why there is no WebGPU, with the adapter where one was refused", async () => {
  Object.assign(status, { reason: "webgpu: no adapter: there is no GPU", adapter: null });
  expect(await reported()).toMatchObject({
    isAvailable: false,
    detail: "webgpu: no adapter: there is no GPU",
    variants: [],
  });
  const reason = "webgpu: this adapter computes wrongly: product[3] is 1, expected 2";
  Object.assign(status, { reason, adapter });
  expect(await reported()).toMatchObject({
    isAvailable: false,
    detail: expect.stringMatching(/^webgpu: this adapter computes wrongly: .*; vendor card; buffers up to/),
  });
});
