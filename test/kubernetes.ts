/** Renders overlays with kubectl, and judges the objects by the types of Kubernetes and KEDA. */
import { execFileSync, spawnSync } from "node:child_process";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { StatefulSet } from "kubernetes-models/apps/v1/StatefulSet";
import { HorizontalPodAutoscaler } from "kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1/NetworkPolicy";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import { PersistentVolumeClaim } from "kubernetes-models/v1/PersistentVolumeClaim";
import { Service } from "kubernetes-models/v1/Service";
import { parseAllDocuments } from "yaml";

export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; labels?: Record<string, string> };
  [key: string]: unknown;
}

type Model = new (data: never) => { validate(): void };

const models: Readonly<Record<string, Model>> = {
  "apps/v1 Deployment": Deployment,
  "apps/v1 StatefulSet": StatefulSet,
  "autoscaling/v2 HorizontalPodAutoscaler": HorizontalPodAutoscaler,
  "keda.sh/v1alpha1 ScaledObject": ScaledObject,
  "networking.k8s.io/v1 NetworkPolicy": NetworkPolicy,
  "policy/v1 PodDisruptionBudget": PodDisruptionBudget,
  "v1 PersistentVolumeClaim": PersistentVolumeClaim,
  "v1 Service": Service,
};

export const hasKubectl = spawnSync("kubectl", ["version", "--client"]).status === 0;

export function render(folder: string): KubernetesObject[] {
  const text = execFileSync("kubectl", ["kustomize", folder], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  return readObjects(text);
}

export function readObjects(text: string): KubernetesObject[] {
  return parseAllDocuments(text).map((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0];
    return document.toJS() as KubernetesObject;
  });
}

/** What is wrong with an object: wrong types, missing fields, and fields that nobody knows. */
export function problemsOf(object: KubernetesObject): string[] {
  const name = `${object.apiVersion} ${object.kind}`;
  const model = models[name];
  if (model === undefined) return [`${name}: of no known type`];
  const failure = failureOf(model, object);
  if (failure !== null) return [`${name}: ${failure}`];
  return unknownKeys(object, (changed) => failureOf(model, changed) !== null).map(
    (path) => `${name}: unknown field ${path}`,
  );
}

function failureOf(model: Model, object: unknown): string | null {
  try {
    new model(object as never).validate();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Validators pass over fields that they do not know: whatever such a field holds, they are content. */
function unknownKeys(object: KubernetesObject, isWrong: (changed: unknown) => boolean): string[] {
  const unknown: string[] = [];
  const visit = (value: unknown, path: (string | number)[]): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, child] of Object.entries(value)) {
      const place = [...path, Array.isArray(value) ? Number(key) : key];
      const isKnown = [[[7]], true, 7.5, "?"].some((nonsense) => isWrong(withValue(object, place, nonsense)));
      if (!isKnown) unknown.push(place.join("."));
      else visit(child, place);
    }
  };
  visit(object, []);
  return unknown;
}

function withValue(object: unknown, path: readonly (string | number)[], value: unknown): unknown {
  const copy = structuredClone(object) as Record<string | number, unknown>;
  let place = copy;
  for (const key of path.slice(0, -1)) place = place[key] as Record<string | number, unknown>;
  place[path.at(-1) ?? ""] = value;
  return copy;
}
