/** Sums, largest magnitudes and orders over the threads of a workgroup, or over stretches of it; every thread gets the answer. */

/** `sumOf(x, t, lanes)` over each stretch of `lanes` threads, a power of two. */
export const sumOfFunction = `
var<workgroup> sums: array<f32, threads>;
fn sumOf(own: f32, t: u32, lanes: u32) -> f32 {
  sums[t] = own;
  workgroupBarrier();
  for (var half = lanes >> 1u; half > 0u; half >>= 1u) {
    if ((t & (lanes - 1u)) < half) { sums[t] += sums[t + half]; }
    workgroupBarrier();
  }
  let sum = sums[t & ~(lanes - 1u)];
  // Before anybody writes to it again.
  workgroupBarrier();
  return sum;
}
`;

/** `sumOf4(x, t)` of four numbers at once, over all threads. */
export const sumOf4Function = `
var<workgroup> sums4: array<vec4<f32>, threads>;
fn sumOf4(own: vec4<f32>, t: u32) -> vec4<f32> {
  sums4[t] = own;
  workgroupBarrier();
  for (var half = threads >> 1u; half > 0u; half >>= 1u) {
    if (t < half) { sums4[t] += sums4[t + half]; }
    workgroupBarrier();
  }
  let sum = sums4[0];
  workgroupBarrier();
  return sum;
}
`;

/** `mostOf(x, t, lanes)` likewise. */
export const mostOfFunction = `
var<workgroup> mosts: array<u32, threads>;
fn mostOf(own: u32, t: u32, lanes: u32) -> u32 {
  mosts[t] = own;
  workgroupBarrier();
  for (var half = lanes >> 1u; half > 0u; half >>= 1u) {
    if ((t & (lanes - 1u)) < half) { mosts[t] = max(mosts[t], mosts[t + half]); }
    workgroupBarrier();
  }
  let most = mosts[t & ~(lanes - 1u)];
  workgroupBarrier();
  return most;
}
`;

/** `firstOf(key, id, t)`: of all threads the highest key, and of equal ones the lowest id. */
export const firstOfFunction = `
var<workgroup> ranked: array<vec2<u32>, threads>;
fn ranksBefore(a: vec2<u32>, b: vec2<u32>) -> bool { return a.x > b.x || (a.x == b.x && a.y < b.y); }
fn firstOf(own: vec2<u32>, t: u32) -> vec2<u32> {
  ranked[t] = own;
  workgroupBarrier();
  for (var half = threads >> 1u; half > 0u; half >>= 1u) {
    if (t < half && ranksBefore(ranked[t + half], ranked[t])) { ranked[t] = ranked[t + half]; }
    workgroupBarrier();
  }
  let first = ranked[0];
  workgroupBarrier();
  return first;
}
`;
