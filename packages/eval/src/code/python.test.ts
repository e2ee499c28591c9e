/** Programs that a model writes are kept in: what an attacker would try, tried. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { findSandbox, type PythonLimits, runPython, type Sandbox } from "./python.ts";

const found = await findSandbox({ needsNamespaces: true });
const isWhole = typeof found !== "string" && found.hasOwnRoot;
const reason = typeof found === "string" ? found : "this kernel allows no root of one's own";
const sandbox = found as Sandbox;

let folder: string;
let server: Server;
const heard: string[] = [];
beforeAll(async () => {
  // Where everybody may look: what keeps the program out is not the permissions of files.
  folder = mkdtempSync(join(tmpdir(), "bitnet-secret-"));
  writeFileSync(join(folder, "secret"), "s3cret", { mode: 0o666 });
  server = createServer((socket) => {
    heard.push("called");
    socket.destroy();
  });
  await new Promise<void>((done) => server.listen(join(folder, "socket"), done));
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const run = (program: string, limits: Partial<PythonLimits> = {}) =>
  runPython(sandbox, program, "", { seconds: 20, memoryBytes: 2 ** 30, ...limits });

/** Command lines that hold this. */
function processesWith(argument: string): string[] {
  return readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0").includes(argument);
    } catch {
      return false; // it has ended
    }
  });
}

/** What a program prints, line by line. */
async function printed(program: string, limits: Partial<PythonLimits> = {}): Promise<string[]> {
  const { output } = await run(program, limits);
  return output.trim().split("\n");
}

describe.skipIf(!isWhole)(isWhole ? "a program" : `a program (skipped: ${reason})`, () => {
  it("reads and writes no file of the machine, whoever may, and its own folder only", async () => {
    const paths = [
      join(folder, "secret"),
      "/etc/passwd",
      "/proc/1/environ",
      "/etc/shadow",
      import.meta.filename,
    ];
    const program = `
import os
for path in ${JSON.stringify(paths)}:
    try: print(open(path, "rb").read(3))
    except OSError as error: print(type(error).__name__)
for path in ["/usr/x", "/usr/bin/python3", "/lib/x", "/etc/alternatives/x"]:
    try: print(open(path, "ab"))
    except OSError as error: print(type(error).__name__)
print(sorted(os.listdir("/")), os.listdir("."), os.getcwd())
open("own", "w").write("fine"); print(open("own").read())
`;
    const lines = await printed(program);
    expect(lines.slice(0, 5)).toEqual(Array(5).fill("FileNotFoundError"));
    for (const line of lines.slice(5, 9)) expect(["OSError", "PermissionError"]).toContain(line);
    expect(lines[9]).toMatch(/^\['bin', 'dev', 'etc', .*'usr'\] \[\] \/home$/);
    expect(lines[9]).not.toMatch(/'(proc|sys|run|var|boot|mnt)'/);
    expect(lines[10]).toBe("fine");
  });

  it("reaches no network, no socket of the machine and no other process", async () => {
    const program = `
import os, signal, socket
def attempt(family, address):
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s: s.connect(address)
        print("reached")
    except OSError as error: print(type(error).__name__)
attempt(socket.AF_INET, ("127.0.0.1", 22))
attempt(socket.AF_INET, ("192.0.2.1", 80))
attempt(socket.AF_UNIX, ${JSON.stringify(join(folder, "socket"))})
print(os.getpid())
try: os.kill(${process.pid}, signal.SIGTERM); print("killed")
except OSError as error: print(type(error).__name__)
`;
    const lines = await printed(program);
    expect(lines.slice(0, 3)).toEqual(["OSError", "OSError", "FileNotFoundError"]);
    expect(lines.slice(3)).toEqual(["1", "ProcessLookupError"]);
    expect(heard).toEqual([]);
  });

  it("has no environment, no arguments, no capabilities, and gets none back", async () => {
    process.env.BITNET_TEST_SECRET = "s3cret";
    const program = `
import ctypes, os, sys
print(sorted(os.environ), sys.argv)
libc = ctypes.CDLL(None, use_errno=True)
for call in [lambda: libc.unshare(0x10000000), lambda: libc.mount(b"x", b"/tmp", b"tmpfs", 0, None), lambda: libc.chroot(b"/"), lambda: libc.sethostname(b"x", 1)]:
    print(call())
`;
    const lines = await printed(program);
    delete process.env.BITNET_TEST_SECRET;
    expect(lines[0]).toMatch(/^\['HOME',( 'LC_CTYPE',)? 'PATH'\] \['program'\]$/);
    expect(lines.slice(1)).toEqual(Array(4).fill("-1"));
  });

  it("is stopped when it takes too much memory, disk, output or processes, and leaves nothing running", async () => {
    expect(await printed("try: bytearray(1 << 31)\nexcept MemoryError: print('no')")).toEqual(["no"]);
    const fill = `
n = 0
try:
    for i in range(10000):
        with open(str(i), "wb") as file: n += file.write(bytes(1 << 19))
except OSError as error: print(type(error).__name__, n < 1 << 25)
`;
    expect(await printed(fill)).toEqual(["OSError True"]);
    const flood = await run("while True: print('x' * 100000)", { seconds: 1 });
    expect([flood.timedOut, flood.output.length]).toEqual([true, 2 ** 16]);
    const bomb = `
import os, time
n = 0
try:
    while n < 1000:
        if os.fork() == 0: time.sleep(60)
        n += 1
except OSError: pass
print(n < 100)
`;
    if (sandbox.user === null && process.getuid?.() === 0) return; // nothing limits root's processes
    const { output, timedOut } = await run(bomb);
    expect([output, timedOut]).toEqual(["True\n", false]); // nobody waits for those that sleep
  });

  it("ends with its time, also what has left its group", async () => {
    const program = `
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(0.01)
while True: pass
`;
    const memoryBytes = 2 ** 30 + 4242; // an argument that no other process has
    const { timedOut } = await run(program, { seconds: 1, memoryBytes });
    expect(timedOut).toBe(true);
    await vi.waitFor(() => expect(processesWith(String(memoryBytes))).toEqual([]));
  });
});
