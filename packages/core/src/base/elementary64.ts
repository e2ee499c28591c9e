/**
 * sin, cos, log and pow in f64 from + − × ÷ only, for tables that must not depend on the engine's own `Math` functions. Errors are a
 * few units in the last place, far below the f32 rounding of their users.
 */

const ln2High = 0.6931471803691238; // 32 bits
const ln2Low = 1.9082149292705877e-10;
// π/2 in three parts of 33, 33 and 53 bits: exact multiples up to 2²⁰ quarter turns.
const halfPi1 = 1.5707963267341256;
const halfPi2 = 6.077100506303966e-11;
const halfPi3 = 2.0222662487959506e-21;

/** x^y for x > 0 and a result within the normal range of f64. */
export function pow64(x: number, y: number): number {
  return exp64(y * log64(x));
}

/** Sine and cosine of `x` radians, |x| ≤ 10⁶. */
export function sinCos64(x: number): { sin: number; cos: number } {
  const quarter = Math.round(x * 0.6366197723675814);
  const r = x - quarter * halfPi1 - quarter * halfPi2 - quarter * halfPi3;
  const z = r * r;
  const sin = sinSeries(r, z);
  const cos = cosSeries(z);
  switch (((quarter % 4) + 4) % 4) {
    case 0:
      return { sin, cos };
    case 1:
      return { sin: cos, cos: -sin };
    case 2:
      return { sin: -sin, cos: -cos };
    default:
      return { sin: -cos, cos: sin };
  }
}

function sinSeries(r: number, z: number): number {
  let term = r;
  let sum = 0;
  for (let k = 2; k <= 18; k += 2) {
    term = (-term * z) / (k * (k + 1));
    sum += term;
  }
  return r + sum;
}

function cosSeries(z: number): number {
  let term = 1;
  let sum = 0;
  for (let k = 1; k <= 17; k += 2) {
    term = (-term * z) / (k * (k + 1));
    sum += term;
  }
  return 1 + sum;
}

/** Natural logarithm of x > 0. */
export function log64(x: number): number {
  let exponent = 0;
  let m = x;
  while (m >= Math.SQRT2) {
    m /= 2;
    exponent++;
  }
  while (m < Math.SQRT1_2) {
    m *= 2;
    exponent--;
  }
  // log m = 2 artanh((m − 1)/(m + 1)), |argument| ≤ 0.172
  const z = (m - 1) / (m + 1);
  const zz = z * z;
  let power = z;
  let sum = 0;
  for (let k = 3; k <= 25; k += 2) {
    power *= zz;
    sum += power / k;
  }
  return exponent * ln2High + (2 * z + (2 * sum + exponent * ln2Low));
}

function exp64(x: number): number {
  const n = Math.round(x * Math.LOG2E);
  const r = x - n * ln2High - n * ln2Low;
  let term = 1;
  let sum = 0;
  for (let k = 1; k <= 18; k++) {
    term = (term * r) / k;
    sum += term;
  }
  let result = 1 + sum;
  for (let i = 0; i < n; i++) result *= 2;
  for (let i = 0; i > n; i--) result /= 2;
  return result;
}
