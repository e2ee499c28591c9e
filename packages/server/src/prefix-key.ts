/**
 * A name for how a prompt begins. A balancer that sends requests of one name to one server lets them find what is in its cache; it says
 * nothing about the prompt to those who do not have it, and differs between tenants, who share no cache.
 */
import { createHash } from "node:crypto";

const nTokens = 64;

export function prefixKey(tenant: string, model: string, ids: Int32Array): string {
  const hash = createHash("sha256").update(`${tenant}\n${model}\n`);
  return hash
    .update(Array.from(ids.subarray(0, nTokens)).join(","))
    .digest("hex")
    .slice(0, 16);
}
