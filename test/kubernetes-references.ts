/**
 * What a cluster would find out only when the objects are there: names that lead nowhere. Selectors, ports, volumes, paths in arguments,
 * targets of scaling, budgets that no eviction could keep.
 */
import type { KubernetesObject } from "./kubernetes.ts";

/** What whoever applies the objects has to bring: secrets with their keys, and claims. */
export const external = {
  secrets: {
    "bitnet-keys": ["keys.json"],
    "bitnet-redis": ["password", "auth.conf", "tls.crt", "tls.key"],
  } as Readonly<Record<string, readonly string[]>>,
  claims: ["bitnet-models"],
};

type Labels = Readonly<Record<string, string>>;

interface Probe {
  httpGet?: { port: string | number };
  tcpSocket?: { port: string | number };
}

interface Container {
  name: string;
  args?: string[];
  command?: string[];
  ports?: { name?: string; containerPort: number }[];
  env?: { name: string; value?: string; valueFrom?: { secretKeyRef?: { name: string; key: string } } }[];
  startupProbe?: Probe;
  readinessProbe?: Probe;
  livenessProbe?: Probe;
  securityContext?: { readOnlyRootFilesystem?: boolean };
  resources?: { requests?: Readonly<Record<string, string>> };
  volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[];
}

interface Volume {
  name: string;
  secret?: { secretName: string; items?: { key: string; path: string }[] };
  persistentVolumeClaim?: { claimName: string };
}

interface Workload {
  name: string;
  kind: string;
  apiVersion: string;
  replicas: number | undefined;
  selector: Labels;
  serviceName: string | undefined;
  labels: Labels;
  containers: Container[];
  volumes: Volume[];
}

/** Flags whose values are written to. */
const written = ["--data", "--dir", "--audit-log"];

export function brokenReferences(objects: readonly KubernetesObject[]): string[] {
  const workloads = objects.filter(({ kind }) => /^(Deployment|StatefulSet)$/.test(kind)).map(workloadOf);
  const claims = [
    ...external.claims,
    ...objects.filter(({ kind }) => kind === "PersistentVolumeClaim").map(({ metadata }) => metadata.name),
  ];
  const services = objects.filter(({ kind }) => kind === "Service").map(({ metadata }) => metadata.name);
  return [
    ...workloads.flatMap((workload) => problemsOfWorkload(workload, claims, services)),
    ...objects.flatMap((object) =>
      (judges[object.kind]?.(object.spec, workloads) ?? []).map(
        (problem) => `${object.kind} ${object.metadata.name}: ${problem}`,
      ),
    ),
  ];
}

function workloadOf({ kind, apiVersion, metadata, spec }: KubernetesObject): Workload {
  const {
    replicas,
    selector,
    serviceName,
    template,
    volumeClaimTemplates = [],
  } = spec as {
    replicas?: number;
    selector: { matchLabels: Labels };
    serviceName?: string;
    template: {
      metadata: { labels: Labels };
      spec: { containers: Container[]; initContainers?: Container[]; volumes?: Volume[] };
    };
    volumeClaimTemplates?: { metadata: { name: string } }[];
  };
  const { containers, initContainers = [], volumes = [] } = template.spec;
  return {
    ...{ name: metadata.name, kind, apiVersion, replicas, selector: selector.matchLabels, serviceName },
    labels: template.metadata.labels,
    containers: [...initContainers, ...containers],
    volumes: [...volumes, ...volumeClaimTemplates.map((claim) => ({ name: claim.metadata.name }))],
  };
}

const matches = (selector: Labels, labels: Labels) =>
  Object.keys(selector).length > 0 &&
  Object.entries(selector).every(([name, value]) => labels[name] === value);

const hasPort = (containers: readonly Container[], port: string | number) =>
  containers.some(({ ports = [] }) =>
    ports.some(({ name, containerPort }) => name === port || containerPort === port),
  );

function problemsOfWorkload(
  workload: Workload,
  claims: readonly string[],
  services: readonly string[],
): string[] {
  const { volumes, containers, serviceName } = workload;
  const problems: string[] = [];
  if (!matches(workload.selector, workload.labels)) problems.push("its selector does not match its pods");
  if (serviceName !== undefined && !services.includes(serviceName))
    problems.push(`there is no service ${serviceName}`);
  for (const { name, secret, persistentVolumeClaim } of volumes) {
    if (!containers.some(({ volumeMounts = [] }) => volumeMounts.some((mount) => mount.name === name)))
      problems.push(`nobody mounts the volume ${name}`);
    if (persistentVolumeClaim !== undefined && !claims.includes(persistentVolumeClaim.claimName))
      problems.push(`there is no claim ${persistentVolumeClaim.claimName}`);
    if (secret === undefined) continue;
    const keys = external.secrets[secret.secretName];
    if (keys === undefined) problems.push(`there is no secret ${secret.secretName}`);
    for (const { key } of secret.items ?? [])
      if (keys?.includes(key) === false) problems.push(`the secret ${secret.secretName} has no ${key}`);
  }
  problems.push(...containers.flatMap((container) => problemsOfContainer(container, volumes)));
  return problems.map((problem) => `${workload.kind} ${workload.name}: ${problem}`);
}

function problemsOfContainer(container: Container, volumes: readonly Volume[]): string[] {
  const { args = [], command = [], env = [], volumeMounts = [] } = container;
  const problems: string[] = [];
  for (const { name } of volumeMounts)
    if (!volumes.some((volume) => volume.name === name)) problems.push(`there is no volume ${name}`);
  for (const kind of ["startupProbe", "readinessProbe", "livenessProbe"] as const) {
    const port = container[kind]?.httpGet?.port ?? container[kind]?.tcpSocket?.port;
    if (port !== undefined && !hasPort([container], port))
      problems.push(`${kind} asks a port ${port} that is not there`);
  }
  for (const { valueFrom } of env) {
    const from = valueFrom?.secretKeyRef;
    if (from !== undefined && external.secrets[from.name]?.includes(from.key) !== true)
      problems.push(`there is no ${from.key} in a secret ${from.name}`);
  }
  if (container.securityContext?.readOnlyRootFilesystem !== true) return problems;
  const words = [...command, ...args];
  const places = [
    ...words.flatMap((word, i) =>
      word.startsWith("/") ? [{ path: word, isWritten: written.includes(words[i - 1] ?? "") }] : [],
    ),
    ...env.flatMap(({ value }) => (value?.startsWith("/") ? [{ path: value, isWritten: false }] : [])),
    // Node and its libraries put things there; Redis does not.
    ...(words.includes("redis-server") ? [] : [{ path: "/tmp", isWritten: true }]),
    // What the image says: models are pulled into /models.
    ...(args[0] === "pull" ? [{ path: "/models", isWritten: true }] : []),
  ];
  for (const { path, isWritten } of places) {
    const mount = volumeMounts.find(
      ({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`),
    );
    const secret = volumes.find(({ name }) => name === mount?.name)?.secret;
    if (mount === undefined) problems.push(`${path} is in no volume`);
    else if (isWritten && (mount.readOnly === true || secret !== undefined))
      problems.push(`${path} cannot be written`);
    else if (secret !== undefined) {
      const names = secret.items?.map((item) => item.path) ?? external.secrets[secret.secretName] ?? [];
      if (!names.includes(path.slice(mount.mountPath.length + 1)))
        problems.push(`${path} is not in the secret ${secret.secretName}`);
    }
  }
  return problems;
}

type Judge = (spec: unknown, workloads: readonly Workload[]) => string[];

const judges: Readonly<Record<string, Judge>> = {
  Service(spec, workloads) {
    const { selector, ports } = spec as {
      selector: Labels;
      ports: { port: number; targetPort?: string | number }[];
    };
    const behind = workloads.filter(({ labels }) => matches(selector, labels));
    if (behind.length !== 1) return [`selects the pods of ${behind.length} workloads`];
    return ports
      .map(({ port, targetPort = port }) => targetPort)
      .filter((port) => !hasPort(behind[0]?.containers ?? [], port))
      .map((port) => `its pods have no port ${port}`);
  },
  NetworkPolicy(spec, workloads) {
    const { podSelector, ingress } = spec as {
      podSelector: { matchLabels: Labels };
      ingress: { from: { podSelector: { matchLabels: Labels } }[]; ports: { port: string | number }[] }[];
    };
    const behind = workloads.filter(({ labels }) => matches(podSelector.matchLabels, labels));
    const froms = ingress.flatMap(({ from }) => from.map((each) => each.podSelector.matchLabels));
    return [
      ...(behind.length === 1 ? [] : [`selects the pods of ${behind.length} workloads`]),
      ...froms
        .filter((selector) => !workloads.some(({ labels }) => matches(selector, labels)))
        .map((selector) => `lets in ${JSON.stringify(selector)}, which is nobody`),
      ...ingress
        .flatMap(({ ports }) => ports.map(({ port }) => port))
        .filter((port) => !hasPort(behind[0]?.containers ?? [], port))
        .map((port) => `its pods have no port ${port}`),
    ];
  },
  PodDisruptionBudget(spec, workloads) {
    const { selector, minAvailable, maxUnavailable } = spec as {
      selector: { matchLabels: Labels };
      minAvailable?: number;
      maxUnavailable?: number;
    };
    const behind = workloads.filter(({ labels }) => matches(selector.matchLabels, labels));
    if (behind.length !== 1) return [`selects the pods of ${behind.length} workloads`];
    const allowed = maxUnavailable ?? (behind[0]?.replicas ?? 1) - (minAvailable ?? 0);
    return allowed >= 1 ? [] : ["lets no pod be evicted, so that no node could be drained"];
  },
  HorizontalPodAutoscaler(spec, workloads) {
    const { scaleTargetRef, minReplicas, maxReplicas, metrics } = spec as {
      scaleTargetRef: { apiVersion: string; kind: string; name: string };
      minReplicas: number;
      maxReplicas: number;
      metrics: { type: string; resource?: { name: string } }[];
    };
    const target = workloads.find(
      ({ kind, name, apiVersion }) =>
        JSON.stringify([apiVersion, kind, name]) ===
        JSON.stringify([scaleTargetRef.apiVersion, scaleTargetRef.kind, scaleTargetRef.name]),
    );
    const resources = metrics.flatMap(({ resource }) => resource?.name ?? []);
    return [
      ...problemsOfScaling(target, minReplicas, maxReplicas),
      ...resources
        .filter((name) =>
          target?.containers.some(({ resources: own }) => own?.requests?.[name] === undefined),
        )
        .map((name) => `a container asks for no ${name}, of which it wants a share`),
    ];
  },
  ScaledObject(spec, workloads) {
    const { scaleTargetRef, minReplicaCount, maxReplicaCount } = spec as {
      scaleTargetRef: { kind?: string; name: string };
      minReplicaCount: number;
      maxReplicaCount: number;
    };
    const { kind = "Deployment", name } = scaleTargetRef;
    const target = workloads.find((each) => each.kind === kind && each.name === name);
    return problemsOfScaling(target, minReplicaCount, maxReplicaCount);
  },
};

function problemsOfScaling(target: Workload | undefined, least: number, most: number): string[] {
  if (target === undefined) return ["scales what is not there"];
  return [
    ...(least >= 1 && least <= most ? [] : [`scales from ${least} to ${most}`]),
    ...(target.replicas === undefined
      ? []
      : ["its target says a number of pods, which each apply sets again"]),
  ];
}
