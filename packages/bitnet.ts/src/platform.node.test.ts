/** Which backend serves when others cannot, and what is said of that. */
import { BitNetError } from "@bitnet.ts/core";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createBackend } from "./platform.node.ts";

const broken = vi.hoisted(() => ({ native: false, wasm: "" }));

vi.mock(import("@bitnet.ts/native"), async (original) => {
  const native = await original();
  const createNativeBackend: typeof native.createNativeBackend = (options) => {
    if (broken.native) throw new BitNetError("BACKEND_UNAVAILABLE", "there is no native binary");
    return native.createNativeBackend(options);
  };
  return { ...native, createNativeBackend };
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
  Object.assign(broken, { native: false, wasm: "" });
  for (const name of ["BITNET_BACKEND", "BITNET_ISA", "BITNET_NATIVE_PATH"]) vi.stubEnv(name, "");
});
afterEach(() => vi.unstubAllEnvs());

it("WebAssembly serves where there is no native backend, and says why", async () => {
  broken.native = true;
  expect(await createBackend({ onNotice, threads: 1 })).toMatchObject({ name: "wasm", threads: 1 });
  expect(notices).toEqual(["bitnet: no native backend (there is no native binary); WebAssembly serves"]);
});

it("the reference serves where there is neither, and says why in one line", async () => {
  Object.assign(broken, { native: true, wasm: "wasm: the plain module cannot be loaded" });
  expect(await createBackend({ onNotice })).toMatchObject({ name: "reference" });
  expect(notices).toEqual([
    "bitnet: no native backend (there is no native binary), no WebAssembly (wasm: the plain module cannot be loaded); the slow reference backend serves",
  ]);
});

it("what was forced is used or refused, without another in its place", async () => {
  Object.assign(broken, { native: true, wasm: "no module" });
  for (const name of ["native", "wasm"] as const)
    await expect(createBackend({ name, onNotice })).rejects.toMatchObject({ code: "BACKEND_UNAVAILABLE" });
  broken.wasm = "";
  expect(await createBackend({ name: "wasm", onNotice })).toMatchObject({ name: "wasm" });
  expect(notices).toEqual([]);
});

it("a variant of WebAssembly chooses the backend, by option or by BITNET_ISA", async () => {
  const isa = "wasm-plain-exact";
  expect(await createBackend({ isa, onNotice })).toMatchObject({ name: "wasm", isa });
  vi.stubEnv("BITNET_ISA", isa);
  expect(await createBackend({ onNotice })).toMatchObject({ name: "wasm", isa });
});
