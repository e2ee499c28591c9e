/**
 * Installs node-llama-cpp where the dummy models are, from npm and without running its scripts, and talks to it in a process of its own.
 * It is no dependency of this repository.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { PeerLoad, PeerMessage, PeerRequest } from "../children/peer.ts";
import { installFromNpm } from "./install-from-npm.ts";
import { cacheFolder } from "./models.ts";

export const peerVersion = "3.22.1";

/** Binaries for the processor alone, without those for graphics. */
const binaries: Readonly<Record<string, string>> = {
  "linux-x64": "linux-x64",
  "linux-arm64": "linux-arm64",
  "darwin-arm64": "mac-arm64-metal",
  "darwin-x64": "mac-x64",
};

/** Where the module begins. */
export function peerEntry(): string {
  return join(peerFolder(), "node_modules", "node-llama-cpp", "dist", "index.js");
}

function peerFolder(): string {
  return join(cacheFolder(), `node-llama-cpp-${peerVersion}`);
}

/** @throws Error when npm cannot install it, or it has no binary for this machine. */
export function installPeer(say: (line: string) => void): void {
  const target = `${process.platform}-${process.arch}`;
  const binary = binaries[target];
  if (binary === undefined) throw new Error(`node-llama-cpp has no binary for ${target}`);
  const packages = [`node-llama-cpp@${peerVersion}`, `@node-llama-cpp/${binary}@${peerVersion}`];
  installFromNpm({ folder: peerFolder(), packages, entry: peerEntry() }, say);
}

export interface PeerOptions {
  model: string;
  threads: number;
  /** Of each sequence. */
  contextSize: number;
  /** Default 1. */
  sequences?: number;
}

export class Peer {
  /** What it says of the instructions it uses. */
  readonly system: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, system: string) {
    this.#child = child;
    this.system = system;
  }

  static async start({ model, threads, contextSize, sequences = 1 }: PeerOptions): Promise<Peer> {
    const program = join(import.meta.dirname, "..", "children", "peer.js");
    const sizes = [threads, contextSize, sequences].map(String);
    const child = fork(program, [peerEntry(), model, ...sizes], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const message = await nextMessage(child);
    if (message.kind !== "ready") throw new Error("node-llama-cpp spoke out of turn");
    return new Peer(child, message.system);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async run(request: PeerRequest): Promise<Extract<PeerMessage, { kind: "sample" }>> {
    this.#child.send(request);
    const message = await nextMessage(this.#child);
    if (message.kind !== "sample") throw new Error("node-llama-cpp spoke out of turn");
    return message;
  }

  /** Runs as many requests at once as it has sequences. */
  async serve(load: PeerLoad): Promise<Extract<PeerMessage, { kind: "served" }>> {
    this.#child.send(load);
    const message = await nextMessage(this.#child);
    if (message.kind !== "served") throw new Error("node-llama-cpp spoke out of turn");
    return message;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.disconnect();
    await ended;
  }
}

/** @throws Error when the process ends first. */
async function nextMessage(child: ChildProcess): Promise<PeerMessage> {
  const stop = new AbortController();
  const { signal } = stop;
  try {
    const [message] = await Promise.race([
      once(child, "message", { signal }),
      once(child, "exit", { signal }).then(([status]) => {
        throw new Error(`node-llama-cpp ended with status ${status}`);
      }),
    ]);
    return message as PeerMessage;
  } finally {
    stop.abort();
  }
}
