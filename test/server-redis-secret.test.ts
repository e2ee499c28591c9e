/** Redis as deploy/ runs it, with a password and TLS, and the servers that know them; the password is nowhere to be read. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { bitnet } from "./cli-process.ts";
import { freePort } from "./free-port.ts";
import { readObjects } from "./kubernetes.ts";
import { hasRedis } from "./redis-process.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

const deploy = fileURLToPath(new URL("../deploy", import.meta.url));
const hasOpenssl = spawnSync("openssl", ["version"]).error === undefined;
if (!hasOpenssl && process.env.BITNET_REQUIRE_ALL === "1") throw new Error("openssl is missing");
const isMissing = !hasRedis || !hasOpenssl;

let folder: string;
let secrets: string;
let password: string;
const processes: ChildProcess[] = [];

beforeAll(() => {
  if (isMissing) return;
  folder = mkdtempSync(join(tmpdir(), "bitnet-secret-"));
  secrets = join(folder, "secrets");
  for (let i = 0; i < 2; i++) {
    const { status, stdout, stderr } = spawnSync(join(deploy, "redis-secrets.sh"), [secrets], {
      encoding: "utf8",
    });
    expect([status, stdout, stderr]).toEqual([0, "", ""]);
    // What is there stays.
    password ??= readFileSync(join(secrets, "password"), "utf8");
  }
});
afterAll(() => {
  for (const child of processes) child.kill("SIGKILL");
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

/** @param command As in a file of deploy/. @param places What stands there for paths of this test. */
async function startRedis(
  command: readonly string[],
  places: Readonly<Record<string, string>>,
): Promise<{ url: string; child: ChildProcess }> {
  const port = await freePort();
  const [program = "", ...args] = command.map((word) =>
    word === "6379" ? `${port}` : (places[word] ?? word),
  );
  expect(program).toBe("redis-server");
  const child = spawn(program, args, { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  processes.push(child);
  let output = "";
  await new Promise<void>((resolve, reject) => {
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (/Ready to accept connections/.test(output)) resolve();
    });
    child.once("exit", (status) => reject(new Error(`redis-server has ended with ${status}: ${output}`)));
  });
  return { url: `rediss://localhost:${port}`, child };
}

const certificate = () => ({ NODE_EXTRA_CA_CERTS: join(secrets, "tls.crt") });
const commandLine = ({ pid }: ChildProcess) => readFileSync(`/proc/${pid}/cmdline`, "utf8");

function composeRedis() {
  const file = parse(readFileSync(join(deploy, "compose.yaml"), "utf8")) as {
    services: { redis: { command: string[] } };
    secrets: Record<string, { file: string }>;
  };
  const places = Object.entries(file.secrets).map(([name, secret]) => [
    `/run/secrets/${name}`,
    secret.file.replace("./secrets", secrets),
  ]);
  return startRedis(file.services.redis.command, Object.fromEntries(places) as Record<string, string>);
}

test.skipIf(isMissing)("nobody but their owner gets to the secrets", () => {
  expect(statSync(secrets).mode & 0o777).toBe(0o700);
  expect(readdirSync(secrets).sort()).toEqual(["auth.conf", "password", "tls.crt", "tls.key"]);
  expect(password).toMatch(/^[0-9a-f]{64}$/);
});

test.skipIf(isMissing)(
  "servers of compose.yaml share through it, and neither logs, processes, pages nor files show the password",
  async () => {
    const { url, child } = await composeRedis();
    const env = {
      ...certificate(),
      BITNET_REDIS: url,
      BITNET_REDIS_PASSWORD_FILE: join(secrets, "password"),
    };
    const made = await bitnet(["keys", "create", "Ada", "--keys", "redis:"], { env });
    expect([made.status, made.stderr]).toEqual([0, expect.not.stringContaining(password)]);
    const key = made.stdout.trim();
    const data = join(folder, "data");
    const server: ServerProcess = await startServerProcess(
      ["--keys", "redis:", "--data", data, "--log-format", "json", "--monitor-interval", "1"],
      env,
    );
    expect(server.log()).toMatch(/redis: connected/);
    const headers = { authorization: `Bearer ${key}` };
    expect((await server.get("/v1/models")).status).toBe(401);
    expect((await server.post("/v1/completions", { prompt: "x", max_tokens: 1 }, headers)).status).toBe(200);
    const shown = [made.stderr, commandLine(child), commandLine(server.child)];
    for (const path of [
      ...["/monitor", "/monitor/live", "/monitor/summary", "/monitor/alerts", "/monitor/export", "/metrics"],
      ...["/stats", "/security", "/usage", "/health", "/health?deep=1", "/props", "/v1/models"],
    ]) {
      const response = await server.get(path, headers);
      expect([path, response.status]).toEqual([path, 200]);
      shown.push(await response.text());
    }
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    while (!/redis: lost/.test(server.log())) await new Promise((resolve) => setImmediate(resolve));
    await server.end("SIGTERM");
    shown.push(server.log(), server.stdout());
    for (const name of readdirSync(data, { recursive: true, encoding: "utf8" }))
      if (statSync(join(data, name)).isFile()) shown.push(readFileSync(join(data, name), "utf8"));
    for (const text of shown) expect(text).not.toContain(password);
  },
);

test.skipIf(isMissing)(
  "a wrong password, none, and a certificate that nobody knows are said at once",
  async () => {
    const { url } = await composeRedis();
    const wrong = join(folder, "wrong");
    writeFileSync(wrong, "not the password\n");
    const serve = (args: readonly string[], env: Record<string, string> = certificate()) =>
      bitnet(["serve", "--port", "0", "--redis", url, ...args], { env });
    for (const [args, env, said] of [
      [["--redis-password-file", wrong], certificate(), /--redis: the server refuses the password/],
      [[], certificate(), /--redis: the server refuses the password, or wants one/],
      [["--redis-password-file", join(secrets, "password")], {}, /no TLS with the server \(\w+\)/],
      [
        ["--redis-password-file", join(folder, "none")],
        certificate(),
        /none: the password .* cannot be read/,
      ],
    ] as const) {
      const { status, stderr } = await serve(args, env);
      expect([status, stderr]).toEqual([1, expect.stringMatching(said)]);
      expect(stderr).not.toMatch(new RegExp(`not the password|${password}`));
    }
    const { stderr } = await bitnet(["serve", "--redis-password-file", wrong]);
    expect(stderr).toMatch(/name that, too/);
  },
);

test.skipIf(isMissing)(
  "a password that is given as a flag is taken out of the list of processes",
  async () => {
    const { url } = await composeRedis();
    const server = await startServerProcess(["--redis", url.replace("//", `//:${password}@`)], certificate());
    expect(server.log()).toMatch(/redis: connected/);
    expect(server.log()).toMatch(/--redis-password-file do not show it/);
    expect(commandLine(server.child)).not.toContain(password);
    await server.end("SIGTERM");
    expect(server.log()).not.toContain(password);
  },
);

test.skipIf(isMissing)(
  "Redis of the manifests runs with its arguments, and its probe finds it ready",
  async () => {
    interface Redis {
      args: string[];
      readinessProbe: { exec: { command: string[] } };
      env: { name: string }[];
    }
    const [set] = readObjects(readFileSync(join(deploy, "kubernetes/store/redis.yaml"), "utf8"));
    const { template } = (set as unknown as { spec: object }).spec as {
      template: { spec: { containers: Redis[] } };
    };
    const [container] = template.spec.containers;
    const place = (word: string) => word.replace(/^\/run\/redis/, secrets);
    const command = (container?.args ?? []).map((word) => (word === "/data" ? folder : place(word)));
    const { url } = await startRedis(command, {});
    const probe = (secret: string) => {
      const [program = "", ...args] = (container?.readinessProbe.exec.command ?? []).map(place);
      const { port } = new URL(url);
      return spawnSync(program, ["-p", port, ...args], {
        env: { ...process.env, REDISCLI_AUTH: secret },
        encoding: "utf8",
      });
    };
    expect(container?.env.map(({ name }) => name)).toEqual(["REDISCLI_AUTH"]);
    expect(probe(password)).toMatchObject({ status: 0, stdout: "PONG\n" });
    expect(probe("wrong").status).not.toBe(0);
  },
);
