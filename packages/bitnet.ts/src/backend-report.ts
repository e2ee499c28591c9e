/** What `doctor` and pages show of the backends that run on every platform: whether they are there, and what became of each kernel variant. */
import { BitNetError } from "@bitnet.ts/core";
import type { WasmBackendOptions } from "@bitnet.ts/wasm";
import type { AdapterReport } from "@bitnet.ts/webgpu";
import { messageOf } from "./choose-backend.ts";
import type { BackendReport } from "./types.ts";

/** Where the worker and the modules of WebAssembly lie. */
type WasmPlaces = Pick<WasmBackendOptions, "worker" | "wasmUrl">;

const reference: BackendReport = {
  name: "reference",
  isAvailable: true,
  detail: "plain TypeScript",
  threads: 1,
  variants: [],
};

/** Proves the adapter and every variant with known answers, which takes a second or more. */
export async function portableReports(places: WasmPlaces = {}): Promise<BackendReport[]> {
  return [await webgpuReport(), await wasmReport(places), reference];
}

async function webgpuReport(): Promise<BackendReport> {
  const none = { name: "webgpu", isAvailable: false, threads: 0, variants: [] } as const;
  try {
    const { webgpuStatus } = await import("@bitnet.ts/webgpu");
    const { reason, adapter } = await webgpuStatus();
    if (adapter === null) return { ...none, detail: reason ?? "no adapter" };
    if (reason !== null) return { ...none, detail: `${reason}; ${describeAdapter(adapter)}` };
    const { hasDot4 } = adapter;
    return {
      name: "webgpu",
      isAvailable: true,
      detail: describeAdapter(adapter),
      threads: 1,
      variants: [
        {
          isa: "wgsl-dot4",
          verdict: hasDot4 ? "chosen" : "rejected",
          reason: hasDot4 ? "" : "the language lacks integer dot products here",
        },
        { isa: "wgsl-plain", verdict: hasDot4 ? "usable" : "chosen", reason: "" },
      ],
    };
  } catch (error) {
    return { ...none, detail: notInstalled("@bitnet.ts/webgpu", error).message };
  }
}

/** Its limits too, which decide what fits and how it is cut up. */
function describeAdapter({ name, isFallback, limits, features }: AdapterReport): string {
  const lacking = ["subgroups", "shader-f16"].filter((feature) => !features.includes(feature));
  const megabytes = (bytes: number) => `${Math.floor(bytes / 2 ** 20)} MiB`;
  return [
    `${name}${isFallback ? " (in software: only when asked for by name)" : ""}`,
    `buffers up to ${megabytes(limits.maxBufferSize)}, bindings up to ${megabytes(limits.maxStorageBufferBindingSize)}, ` +
      `${limits.maxStorageBuffersPerShaderStage} at once, workgroups of up to ${limits.maxComputeInvocationsPerWorkgroup}`,
    ...(lacking.length > 0 ? [`without ${lacking.join(" and ")}`] : []),
  ].join("; ");
}

async function wasmReport(places: WasmPlaces): Promise<BackendReport> {
  try {
    const { wasmStatus } = await import("@bitnet.ts/wasm");
    const { reason, threads, variants, chosen } = await wasmStatus(places);
    return {
      name: "wasm",
      isAvailable: reason === null,
      detail: reason ?? "WebAssembly",
      threads,
      variants: variants.map((variant) => verdictOn(variant, chosen)),
    };
  } catch (error) {
    const detail = notInstalled("@bitnet.ts/wasm", error).message;
    return { name: "wasm", isAvailable: false, detail, threads: 0, variants: [] };
  }
}

export function verdictOn(
  { isa, rejected }: { isa: string; rejected: string | null },
  chosen: string | null,
): BackendReport["variants"][number] {
  const verdict = rejected !== null ? "rejected" : isa === chosen ? "chosen" : "usable";
  return { isa, verdict, reason: rejected ?? "" };
}

/** A package of a backend that did not load. */
export function notInstalled(name: string, cause: unknown): BitNetError {
  const isMissing = (cause as { code?: unknown } | null)?.code === "ERR_MODULE_NOT_FOUND";
  const reason = isMissing ? `${name} is not installed` : messageOf(cause);
  return new BitNetError("BACKEND_UNAVAILABLE", reason, { cause });
}
