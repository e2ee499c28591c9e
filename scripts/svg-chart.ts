/** Line and bar charts as drawings: axes with units, a legend, values on bars. Knows nothing of benches. */
import { colourOf, type Drawing, escapeXml, ink, round, text, width } from "./svg-document.ts";

export interface Series {
  name: string;
  points: readonly { x: number; y: number }[];
  /** Default: dots joined by a line. */
  marks?: "dots" | "line";
}

export interface LineChart {
  title: string;
  xLabel: string;
  yLabel: string;
  /** `log2` puts a tick at every x of the first series. */
  xScale: "linear" | "log2";
  series: readonly Series[];
}

export interface BarChart {
  title: string;
  /** Of the values. */
  xLabel: string;
  bars: readonly {
    label: string;
    value: number /** A bound, drawn as a line across the bar's row. */;
    limit?: number;
  }[];
  /** What the bounds are. */
  limitLabel?: string;
}

const right = 30;

export function drawLines(chart: LineChart): Drawing {
  const [top, plotHeight] = [40, 250];
  const bottom = top + plotHeight;
  const all = chart.series.flatMap(({ points }) => points);
  const toX = chart.xScale === "log2" ? Math.log2 : (x: number) => x;
  const xs = all.map(({ x }) => toX(x));
  const lowX = chart.xScale === "log2" ? Math.min(...xs) : 0;
  const spanX = Math.max(...xs) - lowX || 1;
  const yTicks = ticks(Math.max(...all.map(({ y }) => y)));
  const highY = yTicks.at(-1) ?? 1;
  const from = 70;
  const px = (x: number) => round(from + ((toX(x) - lowX) / spanX) * (width - from - right - 20) + 10);
  const py = (y: number) => round(bottom - (y / highY) * plotHeight);
  const xTicks =
    chart.xScale === "log2"
      ? (chart.series[0]?.points ?? []).map(({ x }) => x)
      : ticks(Math.max(...all.map(({ x }) => x))).filter((x) => toX(x) - lowX <= spanX);
  const body = [
    text(chart.title, 12, 22, { weight: "bold" }),
    ...yTicks.map((y) => line([from, py(y)], [width - right, py(y)], 0.25)),
    ...yTicks.map((y) => text(label(y), from - 8, py(y) + 4, { anchor: "end" })),
    ...xTicks.map((x) => text(label(x), px(x), bottom + 18, { anchor: "middle" })),
    text(chart.xLabel, (from + width - right) / 2, bottom + 38, { anchor: "middle" }),
    `<text transform="translate(16 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeXml(chart.yLabel)}</text>`,
    ...chart.series.map((series, i) => drawSeries(series, colourOf(i), px, py)),
    ...legend(chart.series),
  ];
  return { height: bottom + 56, body: body.join("\n") };
}

function drawSeries(
  { points, marks }: Series,
  colour: string,
  px: (x: number) => number,
  py: (y: number) => number,
): string {
  const path = points.map(({ x, y }) => `${px(x)},${py(y)}`).join(" ");
  const stroke = `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`;
  const dots = points
    .map(({ x, y }) => `<circle cx="${px(x)}" cy="${py(y)}" r="4" fill="${colour}"/>`)
    .join("");
  return `${marks === "dots" ? "" : stroke}${marks === "line" ? "" : dots}`;
}

/** In the line of the title, from the right. */
function legend(series: readonly Series[]): string[] {
  if (series.length < 2) return [];
  let x = width - right;
  return series
    .map(({ name }, i) => {
      x -= Math.ceil(name.length * 7.5) + 30;
      const square = `<rect x="${x}" y="12" width="12" height="12" fill="${colourOf(i)}"/>`;
      return `${square}${text(name, x + 17, 22)}`;
    })
    .reverse();
}

export function drawBars(chart: BarChart): Drawing {
  const rowHeight = 26;
  const left = 20 + Math.ceil(7.4 * Math.max(...chart.bars.map(({ label: name }) => name.length)));
  const top = 40;
  const bottom = top + rowHeight * chart.bars.length;
  const xTicks = ticks(Math.max(...chart.bars.map(({ value, limit }) => Math.max(value, limit ?? 0))));
  const high = xTicks.at(-1) ?? 1;
  const px = (x: number) => round(left + (x / high) * (width - left - right - 40));
  const rows = chart.bars.flatMap(({ label: name, value, limit }, i) => {
    const y = top + rowHeight * i;
    return [
      text(name, left - 8, y + 17, { anchor: "end" }),
      `<rect x="${left}" y="${y + 4}" width="${px(value) - left}" height="${rowHeight - 8}" fill="${colourOf(0)}"/>`,
      valueText(label(value), px(value), px(value) - left > 60, y + 17),
      limit === undefined
        ? ""
        : `<line x1="${px(limit)}" y1="${y + 1}" x2="${px(limit)}" y2="${y + rowHeight - 1}" stroke="${colourOf(1)}" stroke-width="3"/>`,
    ];
  });
  const hasLimit = chart.limitLabel !== undefined && chart.bars.some(({ limit }) => limit !== undefined);
  const body = [
    text(chart.title, 12, 22, { weight: "bold" }),
    ...xTicks.map((x) => line([px(x), top], [px(x), bottom], 0.25)),
    ...rows,
    ...xTicks.map((x) => text(label(x), px(x), bottom + 18, { anchor: "middle" })),
    text(chart.xLabel, (left + width - right) / 2, bottom + 38, { anchor: "middle" }),
    ...(hasLimit
      ? [
          `<line x1="16" y1="${bottom + 24}" x2="16" y2="${bottom + 40}" stroke="${colourOf(1)}" stroke-width="3"/>`,
          text(chart.limitLabel ?? "", 24, bottom + 37),
        ]
      : []),
  ];
  return { height: bottom + 56, body: body.filter((piece) => piece !== "").join("\n") };
}

/** At the end of a bar: inside, where a bound cannot cross it, or behind one that is too short. */
function valueText(content: string, end: number, isInside: boolean, y: number): string {
  return isInside
    ? `<text x="${end - 6}" y="${y}" text-anchor="end" fill="#ffffff">${escapeXml(content)}</text>`
    : text(content, end + 6, y);
}

/** 0 and round steps up to `highest` or just above it. */
export function ticks(highest: number): number[] {
  if (!(highest > 0)) return [0, 1];
  const rough = highest / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? 10 * power;
  return Array.from({ length: Math.ceil(highest / step - 1e-9) + 1 }, (_, i) =>
    Number((i * step).toPrecision(12)),
  );
}

function line(
  [x1, y1]: readonly [number, number],
  [x2, y2]: readonly [number, number],
  opacity: number,
): string {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${ink}" stroke-opacity="${opacity}"/>`;
}

function label(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}
