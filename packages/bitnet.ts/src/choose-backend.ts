/** The automatic choice of a backend: the first that is there, and why those before it are not. Knows no platform. */
import { type Backend, type BackendName, BitNetError } from "@bitnet.ts/core";
import type { PassedOver } from "./types.ts";

export interface Candidate {
  name: BackendName;
  /** @throws BitNetError BACKEND_UNAVAILABLE where it is not there. */
  create(): Promise<Backend>;
}

export interface ChosenBackend {
  backend: Backend;
  passedOver: readonly PassedOver[];
  /** The next one that is there, for the reason that the error tells; null: this one was asked for, or is the last. */
  instead: ((error: unknown) => Promise<ChosenBackend>) | null;
}

const words: Readonly<Record<BackendName, { missing: string; serves: string }>> = {
  native: { missing: "native backend", serves: "the native backend" },
  webgpu: { missing: "WebGPU", serves: "WebGPU" },
  wasm: { missing: "WebAssembly", serves: "WebAssembly" },
  reference: { missing: "reference backend", serves: "the slow reference backend" },
};

const noneYet = { passedOver: [], isTold: false } as const;

/**
 * What has to be told goes to `onNotice`: that there is no GPU on a page is nothing to warn its developer of each time, and stands in `passedOver`.
 * @throws BitNetError of the last candidate, and of any what is not its absence.
 */
export async function chooseBackend(
  [first, ...others]: readonly Candidate[],
  onNotice: (line: string) => void,
  { passedOver, isTold }: { passedOver: readonly PassedOver[]; isTold: boolean } = noneYet,
): Promise<ChosenBackend> {
  if (first === undefined) throw new BitNetError("INTERNAL", "there is no backend to choose");
  const instead = (error: unknown) => {
    const reason = messageOf(error).replace(/^webgpu: /, "");
    const isSurprise = !(error instanceof BitNetError) || error.details.isAbsent !== true;
    return chooseBackend(others, onNotice, {
      passedOver: [...passedOver, { backend: first.name, reason }],
      isTold: isTold || isSurprise,
    });
  };
  let backend: Backend;
  try {
    backend = await first.create();
  } catch (error) {
    if (others.length === 0 || !isUnavailable(error)) throw error;
    return instead(error);
  }
  if (isTold) {
    const missing = passedOver.map(({ backend: name, reason }) => `no ${words[name].missing} (${reason})`);
    onNotice(`bitnet: ${missing.join(", ")}; ${words[first.name].serves} serves`);
  }
  return { backend, passedOver, instead: others.length > 0 ? instead : null };
}

/** One that was asked for. */
export async function onlyBackend(backend: Backend | Promise<Backend>): Promise<ChosenBackend> {
  return { backend: await backend, passedOver: [], instead: null };
}

/** Whether a backend is not there, rather than given nonsense. */
function isUnavailable(error: unknown): boolean {
  return !(error instanceof BitNetError) || error.code === "BACKEND_UNAVAILABLE";
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const backendNames: readonly BackendName[] = ["native", "webgpu", "wasm", "reference"];

/** @throws BitNetError BACKEND_UNAVAILABLE. */
export function checkBackendName(name: string | undefined): void {
  if (name === undefined || backendNames.some((each) => each === name)) return;
  throw new BitNetError(
    "BACKEND_UNAVAILABLE",
    `backend "${name}" does not exist; valid names: ${backendNames.join(", ")}`,
  );
}
