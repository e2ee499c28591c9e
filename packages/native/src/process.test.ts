/**
 * The addon and the life of processes and worker threads: idle pools hold nobody up, and whoever leaves in the middle of a step leaves
 * quietly. Children load the binary itself, so that they need nothing compiled.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serialize } from "node:v8";
import { encodeProgram, encodeStep } from "@bitnet.ts/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  chainBytes,
  chainProgram,
  chainStep,
  missingAddon,
  ternaryBytes,
  theBinding,
} from "./test-program.test.kit.ts";

// Few large operations: a step that is told to stop takes a while until it does.
const shape = { cols: 2048, nLayers: 3 };

/** Common to all children: `load(isa)` gives a ready handle of the chain, `words` is a step that takes a while. */
const prelude = `
  const { readFileSync } = require("node:fs");
  const { deserialize } = require("node:v8");
  const { binary, encoded, sources, words } = deserialize(readFileSync(process.env.BITNET_TEST_DATA));
  const binding = require(binary);
  async function load(isa) {
    binding.reserveThreads(2);
    const chosen = binding.selectKernels(isa).isa;
    const { words, scales, paths } = encoded;
    const handle = binding.create(chosen, words, scales, paths, Int32Array.of(64, 8, 1, 2, 1, 1));
    sources.forEach((bytes, i) => bytes && binding.fillSource(handle, i, 0, bytes));
    const failure = await binding.finish(handle);
    if (failure) throw new Error(failure.message);
    return handle;
  }
`;

/** A user without processes. */
const nobody = 54321;
const mayBecomeNobody = process.getuid?.() === 0 && existsSync("/usr/bin/prlimit");

interface Ending {
  code: number | null;
  signal: string | null;
  output: string;
}

describe.skipIf(missingAddon)("process", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "bitnet-native-"));
    // Mapped, so that the guard against truncated files is in place.
    const path = join(folder, "matrix");
    writeFileSync(path, ternaryBytes(chainBytes(shape), 7));
    const program = chainProgram({ ...shape, source: { kind: "file", path, size: chainBytes(shape) } });
    const data = {
      binary: theBinding().path,
      encoded: encodeProgram(program),
      sources: program.sources.map((source) => (source.kind === "bytes" ? source.bytes : null)),
      words: encodeStep(chainStep(shape.cols, 64)),
    };
    writeFileSync(join(folder, "data"), serialize(data));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs a script after the prelude; it must end by itself. */
  function child(script: string, flags: string[] = [], under: string[] = []): Promise<Ending> {
    return childAlone(`${prelude}\n${script}`, flags, under);
  }

  function childAlone(script: string, flags: string[], under: string[] = []): Promise<Ending> {
    return new Promise((resolve, reject) => {
      const env = { ...process.env, BITNET_TEST_DATA: join(folder, "data"), NODE_OPTIONS: "" };
      const [command = "", ...args] = [...under, process.execPath, ...flags, "-e", script];
      const running = spawn(command, args, { env });
      let output = "";
      for (const stream of [running.stdout, running.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          output += text;
        });
      }
      running.on("error", reject);
      running.on("close", (code, signal) => resolve({ code, signal, output }));
    });
  }

  const good = (output: string) => ({ code: 0, signal: null, output });

  it("ends by itself when it is idle, with an executable loaded", async () => {
    const script = `load().then((handle) => binding.run(handle, words)).then((r) => console.log(r.byteLength));`;
    expect(await child(script)).toEqual(good(`${64 * shape.cols * 4}\n`));
  });

  it("stays until a step is done", async () => {
    const script = `load("scalar").then((handle) => { binding.run(handle, words).then(() => console.log("done")); });`;
    expect(await child(script)).toEqual(good("done\n"));
  });

  it("may exit in the middle of a step", async () => {
    const script = `load("scalar").then((handle) => { binding.run(handle, words); setImmediate(() => process.exit(0)); });`;
    for (let round = 0; round < 5; round++) expect(await child(script)).toEqual(good(""));
  });

  it("may die of an exception in the middle of a step", async () => {
    const script = `load("scalar").then((handle) => { binding.run(handle, words); setImmediate(() => { throw new Error("mine"); }); });`;
    const { code, signal, output } = await child(script);
    expect({ code, signal }).toEqual({ code: 1, signal: null });
    expect(output).toMatch(/mine/);
  });

  it("runs steps in several workers and in the main thread at once", async () => {
    const script = `
      const { Worker } = require("node:worker_threads");
      const body = "load().then((handle) => binding.run(handle, words)).then((r) => parentPort.postMessage(Buffer.from(r).toString('base64')));";
      const source = ${JSON.stringify(prelude)} + 'const { parentPort } = require("node:worker_threads");' + body;
      const inWorker = () => new Promise((resolve, reject) => {
        let answer;
        const worker = new Worker(source, { eval: true });
        worker.on("message", (text) => { answer = text; });
        worker.on("error", reject);
        worker.on("exit", (code) => resolve([code, answer]));
      });
      const here = load().then((handle) => binding.run(handle, words)).then((r) => [0, Buffer.from(r).toString("base64")]);
      Promise.all([inWorker(), inWorker(), here]).then((answers) => {
        console.log(answers.map(([code, text]) => code + " " + (text === answers[2][1])).join(", "));
      });
    `;
    expect(await child(script)).toEqual(good("0 true, 0 true, 0 true\n"));
  });

  it("may terminate a worker in the middle of a step, and goes on", async () => {
    const script = `
      const { Worker } = require("node:worker_threads");
      const body = 'load("scalar").then((handle) => { binding.run(handle, words); parentPort.postMessage("running"); });';
      const source = ${JSON.stringify(prelude)} + 'const { parentPort } = require("node:worker_threads");' + body;
      const once = () => new Promise((resolve, reject) => {
        const worker = new Worker(source, { eval: true });
        worker.on("error", reject);
        worker.on("message", () => worker.terminate().then(resolve));
      });
      (async () => {
        for (let i = 0; i < 4; i++) await once();
        console.log(binding.allocations().join());
        const handle = await load();
        console.log((await binding.run(handle, words)).byteLength);
      })();
    `;
    expect(await child(script)).toEqual(good(`0,0\n${64 * shape.cols * 4}\n`));
  });

  it("loads in a worker alone, which may end long before the process", async () => {
    // The pool's threads wait in the binary's code, which must stay although Node unloads what a worker had loaded.
    const script = `
      const { Worker } = require("node:worker_threads");
      const { existsSync, readFileSync } = require("node:fs");
      const maps = "/proc/self/maps";
      const isMapped = () => !existsSync(maps) || readFileSync(maps, "utf8").includes("bitnet.node");
      const body = "load().then((handle) => binding.run(handle, words));";
      new Worker(${JSON.stringify(prelude)} + body, { eval: true }).on("exit", (code) => console.log(code, isMapped()));
    `;
    expect(await childAlone(script, [])).toEqual(good("0 true\n"));
  });

  it("frees executables that were forgotten", async () => {
    const script = `
      (async () => {
        for (let i = 0; i < 3; i++) await load();
        const [loaded] = binding.allocations();
        for (let turn = 0; turn < 100 && binding.allocations()[0] > 0; turn++) {
          gc();
          await new Promise((resolve) => setImmediate(resolve));
        }
        console.log(loaded > 0, binding.allocations().join());
      })();
    `;
    expect(await child(script, ["--expose-gc"])).toEqual(good("true 0,0\n"));
  });

  // Limits of processes hold for nobody but who is not root, and this process must not be the one that gives that up.
  it.skipIf(!mayBecomeNobody)("reads memory with as many threads as can be started", async () => {
    const script = `
      const { readFile } = require("node:fs/promises");
      (async () => {
        await readFile(process.env.BITNET_TEST_DATA); // the threads of Node
        binding.reserveThreads(1);
        process.setuid(nobody);
        console.log(binding.reserveThreads(8), (await binding.readBandwidth(8, 2 ** 20, 3)) > 0);
      })();
    `.replace("nobody", String(nobody));
    const limited = await child(script, [], ["prlimit", "--nproc=1"]);
    expect(limited).toEqual(good("1 true\n"));
  });

  it("leaves other faults to their handlers", async () => {
    const script = `load().then((handle) => binding.run(handle, words)).then(() => process.kill(process.pid, "SIGBUS"));`;
    const { code, signal } = await child(script);
    expect({ code, signal }).toEqual({ code: null, signal: "SIGBUS" });
  });
});
