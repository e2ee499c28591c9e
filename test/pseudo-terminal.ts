/**
 * Drives `bitnet` in a real pseudo-terminal: tmux (Debian's package) on a server of its own gives keys and shows what a person would see.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const entry = fileURLToPath(new URL("../packages/cli/bin/bitnet.js", import.meta.url));
const patienceMs = 50_000;
const pollMs = 50;

/** Why there is no pseudo-terminal here; null when there is one. */
export function whyNoTerminal(): string | null {
  return spawnSync("tmux", ["-V"]).status === 0 ? null : "tmux is not installed";
}

export interface TerminalOptions {
  columns?: number;
  rows?: number;
  env?: Record<string, string>;
  /** Before the command, such as a shell's prompt marker; the default runs `bitnet` alone. */
  shell?: boolean;
}

export class PseudoTerminal {
  readonly #socket = `bitnet-${randomBytes(6).toString("hex")}`;

  /** Starts `bitnet` with `args`, or with `shell` a shell. */
  constructor(
    args: readonly string[],
    { columns = 80, rows = 24, env = {}, shell = false }: TerminalOptions = {},
  ) {
    const variables = Object.entries({ ...env, PS1: "shell$ ", NO_COLOR: "1" }).flatMap(([name, value]) => [
      "-e",
      `${name}=${value}`,
    ]);
    const command = shell ? ["bash", "--norc", "--noprofile", "-i"] : bitnetCommand(args);
    const size = ["-x", String(columns), "-y", String(rows)];
    this.#tmux(["-f", "/dev/null", "new-session", "-d", ...size, ...variables, ...command]);
    this.#tmux(["set-option", "-g", "remain-on-exit", "on"]);
  }

  /** tmux's names for keys: `Enter`, `C-c`, `Up`. */
  press(...keys: readonly string[]): void {
    this.#tmux(["send-keys", ...keys]);
  }

  type(text: string): void {
    this.#tmux(["send-keys", "-l", text]);
  }

  /** As a terminal pastes it, between brackets when the program has asked for them. */
  paste(text: string): void {
    execFileSync("tmux", ["-L", this.#socket, "load-buffer", "-"], { input: text });
    this.#tmux(["paste-buffer", "-p", "-r"]);
  }

  /** Keeps every byte that programs write from now on in a file. */
  record(path: string): void {
    this.#tmux(["pipe-pane", "-o", `cat > '${path}'`]);
  }

  resize(columns: number, rows: number): void {
    this.#tmux(["resize-window", "-x", String(columns), "-y", String(rows)]);
  }

  /** What the window shows, with what has scrolled off. */
  screen(): string {
    return this.#tmux(["capture-pane", "-p", "-S", "-500"]).trimEnd();
  }

  /** Waits until the screen shows `wanted`. */
  async shows(wanted: string | RegExp): Promise<string> {
    return this.#until(
      (screen) => (typeof wanted === "string" ? screen.includes(wanted) : wanted.test(screen)),
      `screen with ${wanted}`,
    );
  }

  /** Waits until the program has ended. @returns Its exit status. */
  async ends(): Promise<number> {
    const format = "#{pane_dead} #{pane_dead_status}";
    await this.#until(() => this.#tmux(["display-message", "-p", format]).startsWith("1"), "the end");
    return Number(this.#tmux(["display-message", "-p", format]).trim().split(" ")[1] ?? 0);
  }

  close(): void {
    spawnSync("tmux", ["-L", this.#socket, "kill-server"]);
  }

  /** Asks again and again, since a terminal tells nobody that it has changed. */
  async #until(isThere: (screen: string) => boolean, what: string): Promise<string> {
    const start = performance.now();
    for (;;) {
      const screen = this.screen();
      if (isThere(screen)) return screen;
      if (performance.now() - start > patienceMs) throw new Error(`waited for ${what}, found:\n${screen}`);
      await delay(pollMs);
    }
  }

  #tmux(args: readonly string[]): string {
    return execFileSync("tmux", ["-L", this.#socket, ...args], {
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C.UTF-8", TERM: "xterm-256color" },
    });
  }
}

export function bitnetCommand(args: readonly string[]): string[] {
  return [process.execPath, entry, ...args];
}
