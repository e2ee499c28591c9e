/** Straight lines through points, by their relative deviations: a small point counts as much as a large one. */

export interface Point {
  x: number;
  y: number;
}

export interface Line {
  intercept: number;
  slope: number;
  /** The largest |y − line| / y. */
  largestDeviation: number;
}

/**
 * The line whose largest relative deviation is the smallest: what instrument makers call independent linearity (IEC 61298-2). At its best it
 * leaves three points equally far off, so all triples are tried.
 * @throws RangeError for fewer than two different x.
 */
export function straightestLine(points: readonly Point[]): Line {
  let best = leastSquaresLine(points);
  for (const [i, first] of points.entries()) {
    for (const [j, second] of points.entries()) {
      if (j <= i) continue;
      for (const [k, third] of points.entries()) {
        if (k === i || k === j) continue;
        const line = lineOpposing([first, second], third, points);
        if (line.largestDeviation < best.largestDeviation) best = line;
      }
    }
  }
  return best;
}

/**
 * By least squares of the relative deviations.
 * @throws RangeError for fewer than two different x.
 */
export function leastSquaresLine(points: readonly Point[]): Line {
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
  return lineOf(points, (sy - slope * sx) / sw, slope);
}

/** The line that leaves two points above it and a third below it, or the other way round, all by the same share of their y. */
function lineOpposing([a, b]: [Point, Point], c: Point, points: readonly Point[]): Line {
  // intercept + slope · x = y · (1 − d) at a and b, y · (1 + d) at c: without the intercept, two equations in slope and d.
  const [ax, ay, ad] = [a.x - c.x, a.y - c.y, a.y + c.y];
  const [bx, by, bd] = [b.x - c.x, b.y - c.y, b.y + c.y];
  const determinant = ax * bd - bx * ad;
  const slope = (ay * bd - by * ad) / determinant;
  const deviation = (ax * by - bx * ay) / determinant;
  return lineOf(points, c.y * (1 + deviation) - slope * c.x, slope);
}

function lineOf(points: readonly Point[], intercept: number, slope: number): Line {
  const deviations = points.map(({ x, y }) => Math.abs(y - (intercept + slope * x)) / y);
  return { intercept, slope, largestDeviation: Math.max(...deviations) };
}
