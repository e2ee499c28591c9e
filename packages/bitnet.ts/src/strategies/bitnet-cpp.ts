/** bitnet.cpp as a strategy: its program (llama-cli), which is run once for each text, or its server. */
import { spawn } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { BitNetError } from "@bitnet.ts/core";
import { checkLlamaServer, deployLlamaServer } from "./servers.ts";
import { available, type Deployment, type Strategy, type StrategyOptions, unavailable } from "./strategy.ts";

/** Characters of a run, of which each text wants a few hundred. */
const maxOutput = 2 ** 20;
const isUrl = (place: string) => /^https?:\/\//.test(place);

export const bitnetCpp: Strategy = {
  name: "bitnet.cpp",
  runs: "model",
  isParallel: false,
  async check({ bitnetCpp: place, model }) {
    if (place === undefined) return unavailable("no program or server of bitnet.cpp was named");
    if (isUrl(place)) return checkLlamaServer(place);
    try {
      await access(place, constants.X_OK);
    } catch {
      return unavailable(`${place} is no program that may be run`);
    }
    return /\.gguf$/i.test(model) ? available(place) : unavailable("bitnet.cpp reads GGUF files only");
  },
  async deploy(options) {
    const { bitnetCpp: place = "" } = options;
    return isUrl(place) ? deployLlamaServer(place) : deployProgram(place, options);
  },
};

function deployProgram(program: string, { model, threads = 4 }: StrategyOptions): Deployment {
  return {
    detail: `${program}, ${threads} threads, started for each text`,
    async generate({ prompt, maxTokens, signal, onText }) {
      const args = ["-m", model, "-p", prompt, "-n", `${maxTokens}`, "-t", `${threads}`, "--temp", "0"];
      const onOutput = (output: string) => {
        if (output.length > prompt.length + 1 && withoutPrompt(output, prompt).trim() !== "") onText();
      };
      const { output, log } = await runProgram(program, [...args, "--ignore-eos", "-no-cnv"], {
        signal,
        onOutput,
      });
      return {
        text: withoutPrompt(output, prompt),
        saidTokensPerSecond: numberIn(log, /^.*(?<!prompt )eval time\s*=.*?([\d.]+) tokens per second/m),
      };
    },
    memoryBytes: () => null,
    dispose: async () => {},
  };
}

/** It prints the prompt first, some versions with a space before it and with a line break at the end. */
function withoutPrompt(output: string, prompt: string): string {
  const at = output.indexOf(prompt);
  const text = at >= 0 && output.slice(0, at).trim() === "" ? output.slice(at + prompt.length) : output;
  return text.replace(/\s*\[end of text\]\s*$/, "").replace(/\n+$/, "");
}

function numberIn(text: string, pattern: RegExp): number | null {
  const found = Number(pattern.exec(text)?.[1]);
  return Number.isFinite(found) ? found : null;
}

function runProgram(
  program: string,
  args: readonly string[],
  { signal, onOutput }: { signal: AbortSignal; onOutput: (output: string) => void },
): Promise<{ output: string; log: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], signal, killSignal: "SIGKILL" });
    const taken = { output: "", log: "" };
    const take = (what: "output" | "log") => (piece: string) => {
      taken[what] += piece;
      if (what === "output") onOutput(taken.output);
      if (taken[what].length <= maxOutput) return;
      child.kill("SIGKILL");
      reject(new BitNetError("BACKEND_FAILED", `${program}: it wrote more than ${maxOutput} characters`));
    };
    child.stdout.setEncoding("utf8").on("data", take("output"));
    child.stderr.setEncoding("utf8").on("data", take("log"));
    child.on("error", (cause) =>
      reject(new BitNetError("BACKEND_FAILED", `${program}: could not run: ${cause.message}`, { cause })),
    );
    child.on("close", (status, name) => {
      if (status === 0) return resolve(taken);
      const last = taken.log.trim().split("\n").at(-1) ?? "";
      reject(
        new BitNetError("BACKEND_FAILED", `${program}: ended with ${status ?? name}: ${last.slice(0, 200)}`),
      );
    });
  });
}
