/**
 * The native kernels: C++ per instruction set, shared out over threads, the same bits as the reference in f32 for any number of them.
 * Checks sizes, since the addon trusts what it is given.
 */
import { availableParallelism } from "node:os";
import { BitNetError } from "@bitnet.ts/core";
import { findAddon } from "./find-addon.ts";
import type { AttentionForward, Floats, Kernels } from "./kernels.ts";
import { powInt } from "./reference/products.ts";
import { dropoutNumbers, dropoutPairs } from "./reference/rows.ts";

type Call = (...args: (Floats | Int32Array | number | null)[]) => number;

type Binding = Readonly<Record<Exclude<keyof Kernels, "name" | "allocate" | "dispose">, Call>> & {
  readonly bindingVersion: number;
  readonly setThreads: Call;
  readonly selectKernels: (name: string | null) => string | null;
};

/** Must equal that of native/node/addon.cc. */
const bindingVersion = 3;

export interface NativeKernelOptions {
  /** Default: the cores available to this process. */
  threads?: number;
  /** Force an instruction set: avx512bf16, avx512vnni, avx512, avx2, neon or scalar; default `BITNET_TRAIN_ISA`, else the best that runs. */
  isa?: string;
}

let loaded: Binding | null = null;

/** @throws BitNetError BACKEND_UNAVAILABLE when there is no binary, or when an instruction set was forced that does not run here. */
export function nativeKernels({ threads, isa }: NativeKernelOptions = {}): Kernels {
  const binding = loadBinding();
  const wanted = isa ?? process.env.BITNET_TRAIN_ISA;
  const chosen = binding.selectKernels(wanted === undefined || wanted === "" ? null : wanted);
  if (chosen === null)
    throw new BitNetError(
      "BACKEND_UNAVAILABLE",
      `training kernels for "${wanted}" do not exist or do not run on this machine`,
    );
  const hasBrains = chosen === "avx512bf16";
  const count = threads ?? availableParallelism();
  const call = (name: keyof Binding & keyof Kernels, ...args: Parameters<Call>): void => {
    // The choice is the thread's, the team the process's; another trainer may have set others since.
    binding.selectKernels(chosen);
    binding.setThreads(count);
    if (binding[name](...args) !== 0) return;
    if (name === "quantise") throw notFinite("an activation");
    throw new BitNetError("OUT_OF_MEMORY", `training: no memory for ${name}`);
  };
  return {
    name: `native ${chosen}`,
    hasBrains,
    allocate: (n) => new Float32Array(n),
    embed(table, ids, width, out) {
      check(out.length === ids.length * width);
      call("embed", table, ids, width, out);
    },
    embedGradient(ids, dOut, width, dTable) {
      check(dOut.length === ids.length * width);
      call("embedGradient", ids, dOut, width, dTable);
    },
    rmsNorm(x, weight, eps, out, r) {
      check(x.length === r.length * weight.length && out.length === x.length);
      call("rmsNorm", x, weight, eps, out, r);
    },
    rmsNormGradient({ x, weight, r, dOut, dX, dWeight }) {
      check(x.length === r.length * weight.length && dWeight.length === weight.length);
      check(dOut.length === x.length && dX.length === x.length);
      call("rmsNormGradient", x, weight, r, dOut, dX, dWeight);
    },
    quantise(x, width, q, s) {
      check(x.length === s.length * width && q.length === x.length);
      call("quantise", x, width, q, s);
    },
    formWeights(master, form, out) {
      check(out.length === master.length);
      if (form === "float") {
        out.set(master);
        return 1;
      }
      binding.setThreads(count);
      const scale = binding.formWeights(master, form === "b1.58" ? 0 : 1, out);
      if (!(scale < Number.POSITIVE_INFINITY)) throw notFinite("a weight");
      return scale;
    },
    product({ a, b, out, m, n, k, factor = 1, rowDivisors, innerDivisors, ...rest }) {
      check(a.length === m * k && b.length === n * k && out.length === m * n);
      check((rowDivisors?.length ?? m) === m && (innerDivisors?.length ?? k) === k);
      check(innerDivisors === undefined || rest.transA === true);
      check(!rest.isBrain || (hasBrains && !rest.transB));
      const flags = [rest.transA, rest.transB, rest.adds].map((flag) => Number(flag ?? false));
      const divisors = [rowDivisors ?? null, innerDivisors ?? null];
      call(
        "product",
        a,
        b,
        out,
        m,
        n,
        k,
        ...flags,
        factor,
        ...divisors,
        ...[rest.isTernary, rest.isBrain].map((flag) => Number(flag ?? false)),
      );
    },
    stripedProduct({ a, b, out, m, n, k }) {
      check(a.length === m * k && b.length === n * k && out.length === m * n);
      call("stripedProduct", a, b, out, m, n, k);
    },
    rope({ x, starts, nHeads, headDim, table, isInverse }) {
      check(x.length === (starts.at(-1) ?? 0) * nHeads * headDim);
      call("rope", x, starts, nHeads, headDim, table, Number(isInverse));
    },
    attention(p) {
      call("attention", ...attentionArguments(p));
    },
    attentionGradient(p) {
      check(p.dOut.length === p.q.length && p.dQ.length === p.q.length);
      check(p.dK.length === p.k.length && p.dV.length === p.v.length);
      call("attentionGradient", ...attentionArguments(p), p.dOut, p.dQ, p.dK, p.dV);
    },
    gate(fn, gate, up, out) {
      check(gate.length === up.length && out.length === up.length);
      call("gate", gateId(fn), gate, up, out);
    },
    gateGradient({ fn, gate, up, dOut, dGate, dUp }) {
      check([up, dOut, dGate, dUp].every(({ length }) => length === gate.length));
      call("gateGradient", gateId(fn), gate, up, dOut, dGate, dUp);
    },
    add(a, b, out) {
      check(a.length === b.length && out.length === a.length);
      call("add", a, b, out);
    },
    addScaled(a, b, factor, out) {
      check(a.length === b.length && out.length === a.length);
      call("addScaled", a, b, factor, out);
    },
    dropout({ x, width, out, seed, step, site, firstRow, share, adds }) {
      check(x.length % width === 0 && out.length === x.length && width <= 2 * dropoutPairs);
      const { threshold, factor } = dropoutNumbers(share);
      const numbers = [seed, step, site * dropoutPairs, firstRow, threshold, factor, Number(adds ?? false)];
      call("dropout", x, width, out, ...numbers);
    },
    crossEntropy({ logits, rows, vocab, labels, weights, losses, scale }) {
      check(
        logits.length === rows * vocab && [labels, weights, losses].every(({ length }) => length === rows),
      );
      call(
        "crossEntropy",
        logits,
        vocab,
        labels,
        weights,
        losses,
        rows,
        Number(scale !== undefined),
        scale ?? 0,
      );
    },
    sumSquares: (x) => binding.sumSquares(x),
    adamw({ weights, gradient, m, v, rate, beta1, beta2, eps, weightDecay, gradientFactor, step }) {
      check([gradient, m, v].every(({ length }) => length === weights.length));
      const [b1, b2] = [Math.fround(beta1), Math.fround(beta2)];
      const unbias = (beta: number) => 1 / (1 - powInt(beta, step));
      const numbers = [
        rate,
        b1,
        b2,
        1 - b1,
        1 - b2,
        unbias(beta1),
        unbias(beta2),
        eps,
        weightDecay,
        gradientFactor,
      ];
      call("adamw", weights, gradient, m, v, ...numbers);
    },
    dispose() {},
  };
}

function attentionArguments({
  starts,
  nHeads,
  nKvHeads,
  headDim,
  q,
  k,
  v,
  out,
  stats,
}: AttentionForward): Parameters<Call> {
  const rows = starts.at(-1) ?? 0;
  check(
    q.length === rows * nHeads * headDim && out.length === q.length && stats.length === 2 * rows * nHeads,
  );
  check(k.length === rows * nKvHeads * headDim && v.length === k.length);
  return [starts, nHeads, nKvHeads, headDim, Math.fround(1 / Math.sqrt(headDim)), q, k, v, out, stats];
}

function gateId(fn: "relu2" | "silu"): number {
  return fn === "relu2" ? 0 : 1;
}

function loadBinding(): Binding {
  loaded ??= findAddon<Binding>(bindingVersion);
  return loaded;
}

function check(isRight: boolean): void {
  if (!isRight) throw new BitNetError("INTERNAL", "training: buffers of a kernel have the wrong sizes");
}

function notFinite(what: string): BitNetError {
  return new BitNetError(
    "NUMERIC_FAILURE",
    `training: ${what} became NaN or infinite; a lower learning rate may help`,
  );
}
