/** The WebGPU backend: one device for all programs that it loads, opened anew after it was lost. */
import {
  type Backend,
  type Executable,
  type Isa,
  type LoadOptions,
  opNames,
  type Program,
  type RejectedVariant,
} from "@bitnet.ts/core";
import { type AdapterReport, Device, type DeviceOptions, noDot4 } from "./device.ts";
import { loadExecutable } from "./load.ts";

export class WebGpuBackend implements Backend {
  readonly name = "webgpu";
  readonly isa: Isa;
  /** Of the processor; those of the device are not counted. */
  readonly threads = 1;
  readonly rejected: readonly RejectedVariant[];
  readonly operations = opNames;
  readonly streams = true;
  /** WebGPU tells nobody how much memory there is: unless told otherwise the cache is made for cards of this size. */
  readonly addressBytes = 4 * 2 ** 30;
  readonly adapter: AdapterReport;
  readonly #options: DeviceOptions;
  #device: Promise<Device>;

  /** @param options Those that the device was opened with. */
  constructor(device: Device, options: DeviceOptions = {}) {
    this.#options = options;
    this.#device = Promise.resolve(device);
    this.adapter = device.report;
    const { hasDot4 } = device.report;
    this.isa = hasDot4 ? "wgsl-dot4" : "wgsl-plain";
    this.rejected = hasDot4 ? [] : [{ isa: "wgsl-dot4", reason: noDot4 }];
  }

  async load(program: Program, options: LoadOptions): Promise<Executable> {
    return loadExecutable(await this.#wellDevice(), program, options);
  }

  async dispose(): Promise<void> {
    (await this.#device.catch(() => null))?.destroy();
  }

  /** Of loads that find it lost at once, one opens another. */
  async #wellDevice(): Promise<Device> {
    const known = this.#device;
    const device = await known.catch(() => null);
    if (device?.failure !== null && this.#device === known) this.#device = Device.open(this.#options);
    return this.#device;
  }
}
