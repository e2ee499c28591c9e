/**
 * A device of the best adapter, with the limits that a program needs, its compiled kernels, and what went wrong on it. A lost device stays
 * lost: who holds it sees so at the next step and loads anew.
 */
import { BitNetError, type WgslIsa } from "@bitnet.ts/core";
import { openGpu } from "#gpu";
import type { Kernel } from "./kernels/kernel.ts";

/** Numbers of the specification; Node has no globals for them. */
export const usage = { mapRead: 1, copySrc: 4, copyDst: 8, uniform: 64, storage: 128 } as const;
const computeStage = 4;

export interface AdapterReport {
  /** Vendor, architecture and description, as far as the browser tells. */
  name: string;
  /** A software adapter. */
  isFallback: boolean;
  features: readonly string[];
  limits: DeviceLimits;
  /** Whether the language has integer dot products. */
  hasDot4: boolean;
}

/** Taken as large as the adapter grants them. */
const neededLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupsPerDimension",
  "maxComputeInvocationsPerWorkgroup",
] as const;

type DeviceLimits = Readonly<Record<(typeof neededLimits)[number], number>>;

/** Without them there is no kernel for a product. WebGPU grants at least 8 and 256, but in its compatibility mode. */
const leastLimits = { maxStorageBuffersPerShaderStage: 8, maxComputeInvocationsPerWorkgroup: 128 } as const;
/** Of a workgroup that has a row to itself. */
const mostThreads = 256;

interface CompiledKernel {
  pipeline: GPUComputePipeline;
  operands: GPUBindGroupLayout;
}

/** The adapter and what it can do. @throws BitNetError BACKEND_UNAVAILABLE with the reason. */
export async function findAdapter(): Promise<{ adapter: GPUAdapter; report: AdapterReport }> {
  const entry = await openGpu();
  if ("reason" in entry) throw absent(entry.reason);
  const adapter = await entry.gpu.requestAdapter({ powerPreference: "high-performance" }).catch((cause) => {
    throw unavailable(messageOf(cause), cause);
  });
  if (adapter === null) throw absent("no adapter: there is no GPU with a driver that WebGPU accepts");
  const { info, features, limits } = adapter;
  const parts = [info.vendor, info.architecture, info.device, info.description].filter((part) => part !== "");
  return {
    adapter,
    report: {
      name: parts.join(" ") || "an adapter without a name",
      isFallback: info.isFallbackAdapter,
      features: [...features].sort(),
      limits: Object.fromEntries(neededLimits.map((name) => [name, limits[name]])) as DeviceLimits,
      hasDot4: entry.gpu.wgslLanguageFeatures.has("packed_4x8_integer_dot_product"),
    },
  };
}

export interface DeviceOptions {
  /** Whether a software adapter will do. Default true. */
  allowFallback?: boolean;
  /** With integer dot products of the language or without; default: with, where it has them. */
  isa?: WgslIsa;
  /** Keeps to these where the adapter grants more. */
  limits?: Partial<DeviceLimits>;
}

export const noDot4 = "the language lacks integer dot products here";

export class Device {
  readonly gpu: GPUDevice;
  readonly report: AdapterReport;
  /** Of workgroups that have a row to themselves: a power of two. */
  readonly threads: number;
  readonly rowsLayout: GPUBindGroupLayout;
  readonly countLayout: GPUBindGroupLayout;
  readonly #compiled = new Map<string, Promise<CompiledKernel>>();
  readonly #operandLayouts = new Map<string, GPUBindGroupLayout>();
  #failure: BitNetError | null = null;
  #isLetGo = false;

  private constructor(gpu: GPUDevice, report: AdapterReport) {
    this.gpu = gpu;
    this.report = report;
    const uniform = { binding: 0, visibility: computeStage, buffer: { type: "uniform" } } as const;
    const storage = (binding: number, type: GPUBufferBindingType) => ({
      binding,
      visibility: computeStage,
      buffer: { type },
    });
    const { maxComputeInvocationsPerWorkgroup } = report.limits;
    this.threads = Math.min(mostThreads, 2 ** Math.floor(Math.log2(maxComputeInvocationsPerWorkgroup)));
    this.countLayout = gpu.createBindGroupLayout({ entries: [uniform] });
    this.rowsLayout = gpu.createBindGroupLayout({
      entries: [uniform, storage(1, "read-only-storage"), storage(2, "storage")],
    });
    void gpu.lost.then(({ reason, message }) => {
      if (!this.#isLetGo) this.#fail(`the device was lost (${message || reason}); load the model again`);
    });
    gpu.addEventListener("uncapturederror", (event) => {
      this.#fail((event as GPUUncapturedErrorEvent).error.message);
    });
  }

  /** @throws BitNetError BACKEND_UNAVAILABLE. */
  static async open({ allowFallback = true, isa, limits = {} }: DeviceOptions = {}): Promise<Device> {
    const { adapter, report: found } = await findAdapter();
    if (isa === "wgsl-dot4" && !found.hasDot4) throw unavailable(noDot4);
    const report: AdapterReport = {
      ...found,
      hasDot4: found.hasDot4 && isa !== "wgsl-plain",
      limits: lowered(found.limits, limits),
    };
    if (report.isFallback && !allowFallback) throw absent(`${report.name} computes in software`);
    for (const [name, least] of Object.entries(leastLimits)) {
      const granted = report.limits[name as keyof typeof leastLimits];
      if (granted < least)
        throw unavailable(`${report.name} grants ${name} of ${granted}, and ${least} are needed`);
    }
    const gpu = await adapter.requestDevice({ requiredLimits: { ...report.limits } }).catch((cause) => {
      throw unavailable(`${report.name} gives no device: ${messageOf(cause)}`, cause);
    });
    return new Device(gpu, report);
  }

  /** What has gone wrong since the device was opened; null when nothing has. */
  get failure(): BitNetError | null {
    return this.#failure;
  }

  /** Once what goes on has been reported: a loss is told a little later than the calls fail that it makes fail. */
  async settled(): Promise<void> {
    const soon = new Promise((resolve) => setTimeout(resolve, 100));
    await Promise.race([this.gpu.lost, soon]);
  }

  /** @throws BitNetError BACKEND_FAILED once anything went wrong. */
  assertWell(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  operandLayout({ access }: Kernel): GPUBindGroupLayout {
    const key = access.join();
    let layout = this.#operandLayouts.get(key);
    if (layout === undefined) {
      const entries = access.map((each, i) => ({
        binding: i + 1,
        visibility: computeStage,
        buffer: { type: each === "read" ? ("read-only-storage" as const) : ("storage" as const) },
      }));
      const params = { binding: 0, visibility: computeStage, buffer: { type: "uniform" } } as const;
      layout = this.gpu.createBindGroupLayout({ label: key, entries: [params, ...entries] });
      this.#operandLayouts.set(key, layout);
    }
    return layout;
  }

  /** Compiled once for each source. @throws BitNetError BACKEND_FAILED with what the compiler says. */
  compile(kernel: Kernel): Promise<CompiledKernel> {
    let compiled = this.#compiled.get(kernel.source);
    if (compiled === undefined) {
      compiled = this.#compile(kernel);
      this.#compiled.set(kernel.source, compiled);
    }
    return compiled;
  }

  async #compile(kernel: Kernel): Promise<CompiledKernel> {
    const operands = this.operandLayout(kernel);
    const step = kernel.usesRows ? this.rowsLayout : this.countLayout;
    const layout = this.gpu.createPipelineLayout({ bindGroupLayouts: [operands, step] });
    const module = this.gpu.createShaderModule({ label: kernel.name, code: kernel.source });
    try {
      const pipeline = await this.gpu.createComputePipelineAsync({
        label: kernel.name,
        layout,
        compute: { module, entryPoint: "main" },
      });
      return { pipeline, operands };
    } catch (cause) {
      this.assertWell();
      const text = `webgpu: ${this.report.name} does not compile ${kernel.name}: ${messageOf(cause)}`;
      throw new BitNetError("BACKEND_FAILED", text, { cause });
    }
  }

  /** Lets go of everything on it. */
  destroy(): void {
    this.#isLetGo = true;
    this.gpu.destroy();
  }

  #fail(message: string): void {
    this.#failure ??= new BitNetError("BACKEND_FAILED", `webgpu: ${this.report.name}: ${message}`);
  }
}

function lowered(granted: DeviceLimits, wanted: Partial<DeviceLimits>): DeviceLimits {
  return Object.fromEntries(
    neededLimits.map((name) => [name, Math.min(granted[name], wanted[name] ?? granted[name])]),
  ) as DeviceLimits;
}

function unavailable(reason: string, cause?: unknown): BitNetError {
  return new BitNetError("BACKEND_UNAVAILABLE", `webgpu: ${reason}`, { cause });
}

/** No GPU, as opposed to one that is refused. */
function absent(reason: string): BitNetError {
  return new BitNetError("BACKEND_UNAVAILABLE", `webgpu: ${reason}`, { details: { isAbsent: true } });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
