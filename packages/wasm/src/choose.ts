/**
 * Which module and which kernels: what the engine computes wrongly or does not know is passed over with a reason, and of two kinds of dots that
 * are right the faster one is taken. Done once for each module.
 */
import { BitNetError, type Isa, type RejectedVariant, type WasmIsa } from "@bitnet.ts/core";
import type { Places } from "#host";
import { Machine } from "./machine.ts";
import type { Proofs } from "./messages.ts";
import { compileModule, type ModuleKind, offersRelaxed } from "./modules.ts";

/** Enough for the samples of the known-answer test. */
const proverPages = 256;

export interface Choice {
  isa: Isa;
  /** Index of the variant in the module. */
  variant: number;
  module: WebAssembly.Module;
  kind: ModuleKind;
  rejected: readonly RejectedVariant[];
}

interface Prover {
  module: WebAssembly.Module;
  proofs: Proofs;
  /** Why a variant cannot be used, or null; asked once. */
  reasonAgainst(variant: number): Promise<string | null>;
}

/** By the module and where it is. */
const provers = new Map<string, Promise<Prover>>();

const dots = { i32: 1, i16: 2, madd: 4 } as const;

/** All variants, best first where neither proof nor stopwatch has spoken. */
export const wasmIsas: readonly WasmIsa[] = [
  ...(["wasm-i32-madd", "wasm-i16-madd", "wasm-plain-madd"] as const),
  ...(["wasm-i32-exact", "wasm-i16-exact", "wasm-plain-exact"] as const),
];

function chooseModule(): ModuleKind {
  return offersRelaxed() ? "relaxed" : "plain";
}

/** @param forced The only variant to consider. @throws BitNetError BACKEND_UNAVAILABLE. */
export async function choose(places: Places, forced: string | undefined): Promise<Choice> {
  if (forced !== undefined && !wasmIsas.some((isa) => isa === forced) && forced !== "scalar")
    throw new BitNetError(
      "BACKEND_UNAVAILABLE",
      `wasm: there is no variant "${forced}"; choose one of ${wasmIsas.join(", ")}`,
    );
  const rejected: RejectedVariant[] = [];
  for (const isa of forced === undefined ? await inOrder(places) : [forced as Isa]) {
    const verdict = await judge(places, isa);
    if (verdict.reason === null) return { isa, ...verdict, rejected };
    rejected.push({ isa, reason: verdict.reason });
  }
  const last = rejected.at(-1);
  throw new BitNetError("BACKEND_UNAVAILABLE", `wasm: "${last?.isa}" cannot be used: ${last?.reason}`);
}

/** What can be told of a variant without a program to run. */
export async function judge(places: Places, isa: Isa) {
  // The plain module has what needs no relaxed instruction.
  const kind = isa === "wasm-plain-exact" || isa === "scalar" ? "plain" : "relaxed";
  if (kind === "relaxed" && chooseModule() === "plain")
    return { reason: "this engine does not know relaxed SIMD", variant: -1, kind } as const;
  const { module, proofs, reasonAgainst } = await proverOf(places, kind);
  const variant = proofs.variants.indexOf(isa);
  return { reason: unproved(isa, proofs) ?? (await reasonAgainst(variant)), variant, module, kind } as const;
}

function unproved(isa: Isa, { proved }: Proofs): string | null {
  const wanted = (Object.keys(dots) as (keyof typeof dots)[]).filter((name) => isa.includes(`-${name}`));
  const wrong = wanted.find((name) => (proved & dots[name]) === 0);
  if (wrong === undefined) return null;
  return wrong === "madd"
    ? "this engine does not fuse relaxed_madd"
    : `this engine computes ${wrong} dots wrongly`;
}

/** Fused before exact, and the faster dots first. */
async function inOrder(places: Places): Promise<readonly Isa[]> {
  const kind = chooseModule();
  if (kind === "plain") return wasmIsas;
  const { dotMs } = (await proverOf(places, kind)).proofs;
  // Plain dots are never the faster ones.
  const timeOf = (isa: WasmIsa) => dotMs[isa.split("-")[1] as keyof typeof dotMs] ?? Number.MAX_VALUE;
  const sorted = (kind: "madd" | "exact") =>
    wasmIsas.filter((isa) => isa.endsWith(kind)).sort((a, b) => timeOf(a) - timeOf(b));
  return [...sorted("madd"), ...sorted("exact")];
}

function proverOf(places: Places, kind: ModuleKind): Promise<Prover> {
  const key = `${kind} ${places.wasmUrl?.[kind] ?? ""}`;
  const prover = provers.get(key) ?? startProver(places, kind);
  provers.set(key, prover);
  // What failed for want of memory or of a file may succeed later.
  prover.catch(() => provers.delete(key));
  return prover;
}

async function startProver(places: Places, kind: ModuleKind): Promise<Prover> {
  const module = await compileModule(kind, places);
  const inMachine = async <T>(work: (machine: Machine) => Promise<T>): Promise<T> => {
    const { machine } = await Machine.start(module, {
      places,
      pages: { least: proverPages, best: proverPages },
      threads: 1,
    });
    try {
      return await work(machine);
    } finally {
      machine.end();
    }
  };
  const proofs = await inMachine((machine) => machine.ask({ kind: "prove" }));
  const reasons = new Map<number, Promise<string | null>>();
  const reasonAgainst = (variant: number) => {
    const { proved } = proofs;
    const reason =
      reasons.get(variant) ?? inMachine((machine) => machine.ask({ kind: "check", variant, proved }));
    reasons.set(variant, reason);
    reason.catch(() => reasons.delete(variant));
    return reason;
  };
  return { module, proofs, reasonAgainst };
}
