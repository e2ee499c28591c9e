/** A straight line through points, by least squares of the relative deviations. */

export interface Line {
  intercept: number;
  slope: number;
  /** The largest |y − line| / y. */
  largestDeviation: number;
}

/**
 * Points weigh 1/y², so that small ones count as much as large ones.
 * @throws RangeError for fewer than two different x.
 */
export function fitLine(points: readonly { x: number; y: number }[]): Line {
  let [sw, sx, sy, sxx, sxy] = [0, 0, 0, 0, 0];
  for (const { x, y } of points) {
    const weight = 1 / (y * y);
    sw += weight;
    sx += weight * x;
    sy += weight * y;
    sxx += weight * x * x;
    sxy += weight * x * y;
  }
  const determinant = sw * sxx - sx * sx;
  if (!(determinant > 1e-12 * sw * sxx)) throw new RangeError("a line needs two different points");
  const slope = (sw * sxy - sx * sy) / determinant;
  const intercept = (sy - slope * sx) / sw;
  const deviations = points.map(({ x, y }) => Math.abs(y - (intercept + slope * x)) / y);
  return { intercept, slope, largestDeviation: Math.max(...deviations) };
}
