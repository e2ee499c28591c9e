/** What lies in deploy/: manifests that render and validate, configurations that their programs accept, flags that exist, times that fit. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { createMetrics } from "#server/monitor/metrics.ts";
import { bitnet } from "./cli-process.ts";
import { hasKubectl, type KubernetesObject, problemsOf, readObjects, render } from "./kubernetes.ts";
import { brokenReferences, external } from "./kubernetes-references.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const deploy = join(root, "deploy");
const read = (path: string) => readFileSync(join(root, path), "utf8");
const overlays = ["mobile", "edge", "server", "cloud"] as const;

/** Skips what needs a program that is missing, unless nothing may be skipped. */
function needs(
  program: string,
  debian: string,
  found = spawnSync(program, ["-v"]).error === undefined,
): boolean {
  if (!found && process.env.BITNET_REQUIRE_ALL === "1")
    throw new Error(`${program} is missing (Debian: ${debian})`);
  if (!found) console.warn(`${program} is missing (Debian: ${debian}): its configuration is not checked`);
  return found;
}

const canRender = needs("kubectl", "kubernetes-client", hasKubectl);

interface Container {
  name: string;
  args: string[];
  env?: { name: string; value?: string }[];
  lifecycle?: { preStop: { exec: { command: string[] } } };
  readinessProbe?: { httpGet: { path: string } };
  livenessProbe?: { httpGet: { path: string } };
  securityContext: { readOnlyRootFilesystem: boolean; allowPrivilegeEscalation: boolean };
  volumeMounts: { name: string; mountPath: string }[];
}

interface PodSpec {
  terminationGracePeriodSeconds: number;
  securityContext: { runAsNonRoot: boolean };
  initContainers?: Container[];
  containers: Container[];
  volumes: { name: string; persistentVolumeClaim?: { claimName: string } }[];
}

function podOf(objects: readonly KubernetesObject[]): PodSpec {
  const deployment = objects.find(({ kind }) => kind === "Deployment");
  if (deployment === undefined) throw new Error("no Deployment");
  return (deployment.spec as { template: { spec: PodSpec } }).template.spec;
}

function flagValue<T = undefined>(args: readonly string[], flag: string, absent?: T): string | T {
  const at = args.indexOf(flag);
  return (at < 0 ? undefined : args[at + 1]) ?? (absent as T);
}

describe.skipIf(!canRender).each(overlays)("overlay %s", (name) => {
  let objects: KubernetesObject[];
  beforeAll(() => {
    objects = render(join(deploy, "kubernetes", "overlays", name));
  });

  test("renders the objects that it is for, all valid, without unknown fields", () => {
    const store = ["StatefulSet", "Service", "NetworkPolicy", "PersistentVolumeClaim"];
    const further = {
      mobile: [],
      edge: [],
      server: ["HorizontalPodAutoscaler", ...store],
      cloud: ["ScaledObject", ...store],
    }[name];
    expect(objects.map(({ kind }) => kind).sort()).toEqual(
      ["Deployment", "PodDisruptionBudget", "Service", ...further].sort(),
    );
    expect(objects.flatMap(problemsOf)).toEqual([]);
    expect(objects.every(({ metadata }) => /^bitnet(-redis|-data)?$/.test(metadata.name))).toBe(true);
  });

  test("no name leads nowhere: selectors, ports, volumes, paths, secrets, what is scaled", () => {
    expect(brokenReferences(objects)).toEqual([]);
  });

  test("many pods share a Redis that evicts nothing and outlives itself, and a data folder; a single one does not", () => {
    const pod = podOf(objects);
    const [server] = pod.containers;
    const redis = server?.env?.find((each) => each.name === "BITNET_REDIS")?.value;
    const data = flagValue(server?.args ?? [], "--data", null);
    const isScaled = objects.some(({ kind }) => /HorizontalPodAutoscaler|ScaledObject/.test(kind));
    if (!isScaled) {
      expect([redis, data]).toEqual([undefined, null]);
      return;
    }
    const named = (kind: string, called: string) =>
      objects.find((object) => object.kind === kind && object.metadata.name === called);
    const { protocol, hostname, port } = new URL(redis ?? "");
    expect(protocol).toBe("rediss:");
    expect(server?.env).toContainEqual({ name: "BITNET_REDIS_PASSWORD_FILE", value: "/run/redis/password" });
    const service = named("Service", hostname)?.spec as { ports: { port: number }[]; selector: object };
    expect(service.ports[0]?.port).toBe(Number(port));
    const set = named("StatefulSet", hostname)?.spec as {
      template: { metadata: { labels: object }; spec: PodSpec };
    };
    expect(set.template.metadata.labels).toMatchObject(service.selector);
    const args = set.template.spec.containers[0]?.args ?? [];
    expect(
      ["--maxmemory-policy", "--appendonly", "--port", "--tls-port", "--include"].map((flag) =>
        flagValue(args, flag),
      ),
    ).toEqual(["noeviction", "yes", "0", "6379", "/run/redis/auth.conf"]);
    const mount = server?.volumeMounts.find(({ mountPath }) => mountPath === data);
    const volume = pod.volumes.find((each) => each.name === mount?.name);
    const claim = named("PersistentVolumeClaim", volume?.persistentVolumeClaim?.claimName ?? "");
    expect(claim?.spec).toMatchObject({ accessModes: ["ReadWriteMany"] });
  });

  test("what is scaled by is what the server tells", async () => {
    const scaler = objects.find(({ kind }) => /HorizontalPodAutoscaler|ScaledObject/.test(kind));
    const names = JSON.stringify(scaler ?? {}).match(/bitnet_\w+/g) ?? [];
    expect(names).toEqual(scaler === undefined ? [] : ["bitnet_num_tokens_waiting"]);
    const metrics = await createMetrics({
      version: "1",
      models: () => [],
      admission: () => ({ running: 0, queued: 0, queuedTokens: 0, refused: 0, background: 0 }),
      batches: () => 0,
      joules: () => null,
      alerts: () => ({ warning: 0, critical: 0 }),
    }).text();
    for (const each of names) expect(metrics).toMatch(new RegExp(`^# TYPE ${each} gauge$`, "m"));
  });

  test("pods run without rights, drain in time, are probed where probes are answered, and mount what there is", () => {
    const pod = podOf(objects);
    expect(pod.securityContext.runAsNonRoot).toBe(true);
    const [server] = pod.containers;
    const pause = Number(server?.lifecycle?.preStop.exec.command.at(-1));
    const drain = Number(flagValue(server?.args ?? [], "--drain-timeout"));
    expect(pause).toBeGreaterThan(0);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(pause + drain + 5);
    expect(server?.readinessProbe?.httpGet.path).toBe("/health/ready");
    expect(server?.livenessProbe?.httpGet.path).toBe("/health/live");
    const volumes = pod.volumes.map((volume) => volume.name);
    for (const container of [...pod.containers, ...(pod.initContainers ?? [])]) {
      expect(container.securityContext).toMatchObject({
        readOnlyRootFilesystem: true,
        allowPrivilegeEscalation: false,
      });
      for (const mount of container.volumeMounts) expect(volumes).toContain(mount.name);
    }
  });

  test("threads and memory are those of the profile", () => {
    const threads = { mobile: "2", edge: "4", server: "8", cloud: "16" }[name];
    const [server] = podOf(objects).containers;
    expect(flagValue(server?.args ?? [], "--threads")).toBe(threads);
    const pulled = podOf(objects).initContainers?.[0]?.args.at(-1);
    const model = flagValue(server?.args ?? [], "--model");
    expect(model).toBe(pulled === undefined ? "/models/model.gguf" : `hf:${pulled}`);
  });
});

test.skipIf(!canRender)("the check of names sees each that leads nowhere", () => {
  const texts: Readonly<Record<string, string>> = Object.fromEntries(
    (["server", "cloud"] as const).map((name) => [
      name,
      JSON.stringify(render(join(deploy, "kubernetes", "overlays", name))),
    ]),
  );
  /** What is found when something reads otherwise. */
  const changed = (name: "server" | "cloud", from: string, to: string) => {
    const text = texts[name] ?? "";
    expect(text).toContain(from);
    return brokenReferences(JSON.parse(text.replaceAll(from, to)) as KubernetesObject[]).join("; ");
  };
  expect(changed("server", '"targetPort":"http"', '"targetPort":"web"')).toBe(
    "Service bitnet: its pods have no port web",
  );
  expect(
    changed("server", '"containerPort":8080,"name":"http"', '"containerPort":8080,"name":"web"'),
  ).toMatch(/startupProbe asks a port http[\s\S]*Service bitnet: its pods have no port http/);
  expect(changed("server", '"secretName":"bitnet-keys"', '"secretName":"keys"')).toMatch(/no secret keys/);
  expect(changed("server", '"key":"tls.crt"', '"key":"ca.crt"')).toMatch(/bitnet-redis has no ca.crt/);
  expect(changed("server", '"claimName":"bitnet-data"', '"claimName":"data"')).toMatch(/no claim data/);
  expect(changed("server", '"mountPath":"/data"', '"mountPath":"/dat"')).toMatch(/\/data is in no volume/);
  expect(changed("server", '"mountPath":"/tmp"', '"mountPath":"/temp"')).toMatch(/\/tmp is in no volume/);
  expect(changed("server", '"/run/redis/password"', '"/run/redis/auth.conf"')).toMatch(
    /auth.conf is not in the secret bitnet-redis/,
  );
  expect(changed("server", '"--data","/data"', '"--data","/run/redis"')).toMatch(/redis cannot be written/);
  expect(changed("server", '"maxUnavailable":1,"selector"', '"maxUnavailable":0,"selector"')).toMatch(
    /lets no pod be evicted/,
  );
  const target = '"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"bitnet"}';
  for (const [from, to] of [
    ["bitnet", "bit"],
    ["Deployment", "StatefulSet"],
    ["apps/v1", "apps/v2"],
  ] as const)
    expect(changed("server", target, target.replace(from, to))).toBe(
      "HorizontalPodAutoscaler bitnet: scales what is not there",
    );
  expect(changed("cloud", '"minReplicaCount":2', '"minReplicaCount":30')).toMatch(/scales from 30 to 20/);
  expect(changed("cloud", '"scaleTargetRef":{"name":"bitnet"', '"scaleTargetRef":{"name":"bit"')).toMatch(
    /ScaledObject bitnet: scales what is not there/,
  );
  expect(changed("cloud", '"serviceName":"bitnet-redis"', '"serviceName":"redis"')).toMatch(
    /no service redis/,
  );
  expect(changed("cloud", '"port":6379,"protocol"', '"port":6380,"protocol"')).toMatch(
    /NetworkPolicy bitnet-redis: its pods have no port 6380/,
  );
  expect(external.claims).toEqual(["bitnet-models"]);
});

test("the check of objects sees a wrong type, a missing field and a field that nobody knows", () => {
  const [service, deployment] = [
    ...readObjects(read("deploy/kubernetes/base/service.yaml")),
    ...readObjects(read("deploy/kubernetes/base/deployment.yaml")),
  ] as [KubernetesObject, KubernetesObject];
  expect([...problemsOf(service), ...problemsOf(deployment)]).toEqual([]);
  const changed = (change: (spec: Record<string, unknown>) => void) => {
    const copy = structuredClone(deployment);
    change(copy.spec as Record<string, unknown>);
    return problemsOf(copy);
  };
  expect(changed((spec) => Object.assign(spec, { replica: 3 }))).toEqual([
    "apps/v1 Deployment: unknown field spec.replica",
  ]);
  expect(changed((spec) => Object.assign(spec, { replicas: "three" }))[0]).toMatch(/replicas/);
  expect(changed((spec) => delete spec.selector)[0]).toMatch(/selector/);
  expect(
    changed((spec) => {
      const pod = (spec.template as { spec: { containers: object[] } }).spec;
      Object.assign(pod.containers[0] ?? {}, { readynessProbe: {} });
    })[0],
  ).toMatch(/unknown field spec.template.spec.containers.0.readynessProbe/);
});

/** Every command of bitnet that a file in deploy/ gives, as a list of arguments. */
function commandsInFiles(): { where: string; args: string[] }[] {
  const found: { where: string; args: string[] }[] = [];
  for (const entry of readdirSync(deploy, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || !/kubernetes.*deployment\.yaml$/.test(path)) continue;
    const pod = podOf(readObjects(readFileSync(path, "utf8")));
    for (const { args } of [...pod.containers, ...(pod.initContainers ?? [])])
      found.push({ where: path, args });
  }
  const compose = parse(read("deploy/compose.yaml")) as { services: { bitnet: { command: string[] } } };
  found.push({ where: "compose.yaml", args: compose.services.bitnet.command });
  const [, cmd = "[]"] = /^CMD (.*)$/m.exec(read("deploy/Dockerfile")) ?? [];
  found.push({ where: "Dockerfile", args: JSON.parse(cmd) as string[] });
  const [, exec = ""] =
    /^ExecStart=\/usr\/bin\/env bitnet (.*)$/m.exec(read("deploy/systemd/bitnet.service")) ?? [];
  found.push({ where: "bitnet.service", args: exec.split(" ") });
  for (const file of ["docs/guide/deployment.md", "packages/server/balancing/nginx.conf"])
    for (const [, line = ""] of read(file).matchAll(
      /^[# ]+(?:npx bitnet\.ts|bitnet) ((?:serve|pull|keys create) .*)$/gm,
    ))
      found.push({ where: file, args: line.split(" ") });
  return found;
}

test("every flag that is used exists", async () => {
  const commands = commandsInFiles();
  expect(new Set(commands.map(({ where }) => where)).size).toBeGreaterThanOrEqual(10);
  const helps = new Map<string, string>();
  for (const { where, args } of commands) {
    const name = args[0] === "keys" ? "keys create" : (args[0] ?? "");
    if (!helps.has(name)) helps.set(name, (await bitnet([...name.split(" "), "--help"])).stdout);
    for (const flag of args.filter((arg) => arg.startsWith("-")))
      expect(helps.get(name), `${where}: bitnet ${name} ${flag}`).toMatch(
        new RegExp(`(^|[ ,])${flag}[ ,\n]`, "m"),
      );
  }
});

test("every environment variable that is set exists", async () => {
  const { stdout } = await bitnet(["serve", "--help"]);
  const files = ["compose.yaml", ...overlays.map((name) => `kubernetes/overlays/${name}/deployment.yaml`)];
  const named = files.flatMap((file) =>
    [...read(`deploy/${file}`).matchAll(/(?<!\{)\bBITNET_[A-Z_]+/g)].flat(),
  );
  expect(new Set(named)).toEqual(new Set(["BITNET_REDIS", "BITNET_REDIS_PASSWORD_FILE"]));
  for (const name of named) expect(stdout).toMatch(new RegExp(`env:\\s+${name}\\b`));
});

test("compose: nothing runs as root, or writes to its image, or is ended before it has drained", () => {
  interface ComposeService {
    command: string[];
    user: string;
    read_only: boolean;
    stop_grace_period: string;
    volumes: string[];
    secrets: string[];
  }
  const { services, secrets } = parse(read("deploy/compose.yaml")) as {
    services: { bitnet: ComposeService; redis: ComposeService };
    secrets: Record<string, { file: string }>;
  };
  const { bitnet: server, redis } = services;
  expect(server).toMatchObject({ user: "1000:1000", read_only: true, cap_drop: ["ALL"] });
  expect(redis).toMatchObject({ user: "999:999", read_only: true, cap_drop: ["ALL"] });
  // Each gets the secrets that it names, and no others are made.
  const named = [server, redis].map((each) =>
    [...new Set(JSON.stringify(each).match(/(?<=\/run\/secrets\/)[\w-]+/g))].sort(),
  );
  expect([server, redis].map((each) => each.secrets.toSorted())).toEqual(named);
  expect(Object.keys(secrets).sort()).toEqual([...new Set(named.flat())].sort());
  expect(
    Object.values(secrets)
      .map(({ file }) => file.replace("./secrets/", ""))
      .sort(),
  ).toEqual(external.secrets["bitnet-redis"]?.toSorted());
  expect(Number.parseInt(server.stop_grace_period, 10)).toBeGreaterThan(
    Number(flagValue(server.command, "--drain-timeout")),
  );
  // Folders, all of them: a file of keys is renamed into its place, and one that is mounted by itself would stay the old one.
  const mounts = server.volumes.map((volume) => volume.split(":")[1]);
  expect(mounts).toEqual(["/run/bitnet", "/models", "/data"]);
  expect(flagValue(server.command, "--keys")).toBe("/run/bitnet/keys.json");
});

describe("systemd", () => {
  const unit = read("deploy/systemd/bitnet.service");

  test("the unit leaves time to drain, and knows the status of an orderly end", () => {
    const stop = Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1]);
    expect(stop).toBeGreaterThan(Number(/--drain-timeout (\d+)/.exec(unit)?.[1]));
    expect(unit).toMatch(/^SuccessExitStatus=143$/m);
  });

  test.skipIf(!needs("systemd-analyze", "systemd"))("systemd-analyze accepts it", () => {
    const verify = (text: string) => {
      const folder = mkdtempSync(join(tmpdir(), "bitnet-unit-"));
      writeFileSync(join(folder, "bitnet.service"), text);
      const { status, stderr } = spawnSync("systemd-analyze", ["verify", join(folder, "bitnet.service")], {
        encoding: "utf8",
      });
      rmSync(folder, { recursive: true });
      // Other units of the machine are looked at as well.
      return { status, own: stderr.split("\n").filter((line) => line.includes("bitnet")) };
    };
    expect(verify(unit)).toMatchObject({ own: [] });
    expect(verify(unit.replace("ProtectSystem=strict", "ProtectSystems=strict")).own.length).toBeGreaterThan(
      0,
    );
  });
});

describe.skipIf(!needs("/usr/sbin/haproxy", "haproxy"))("haproxy", () => {
  const check = (text: string) => {
    const folder = mkdtempSync(join(tmpdir(), "bitnet-haproxy-"));
    writeFileSync(join(folder, "haproxy.cfg"), text);
    const { status } = spawnSync("/usr/sbin/haproxy", ["-c", "-f", join(folder, "haproxy.cfg")]);
    rmSync(folder, { recursive: true });
    return status;
  };

  test("accepts the example", () => {
    const example = read("packages/server/balancing/haproxy.cfg");
    expect(check(example)).toBe(0);
    expect(check(example.replace("balance hdr", "balances hdr"))).not.toBe(0);
  });
});
