/** Reads a buffer and does as good as nothing with it: what products of memory-bound sizes are compared with. */
import { type Kernel, kernel } from "./kernel.ts";

/** Vectors of 16 bytes that a thread reads, far apart, so that neighbours read neighbouring ones. */
export const vectorsPerThread = 16;

export const bareRead: Kernel = kernel("bare read", {
  params: ["nGroups: u32"],
  buffers: [
    ["read", "words: vec4<u32>"],
    ["write", "out: u32"],
  ],
  threads: 256,
  body: `
  var sum = vec4(0u);
  let begin = (group.y * params.nGroups + group.x) * ${vectorsPerThread}u * threads;
  for (var i = 0u; i < ${vectorsPerThread}u; i++) { sum += words[begin + i * threads + t]; }
  // Never so, but nobody can tell.
  if ((sum.x ^ sum.y ^ sum.z ^ sum.w) == 0x9e3779b9u) { out[0] = sum.x; }`,
});
