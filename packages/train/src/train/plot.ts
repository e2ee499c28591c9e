/** A run's loss and learning rate as an SVG picture. Knows nothing but the log. */
import type { LogEntry } from "./log.ts";

const [width, height, margin] = [760, 360, 48];

interface Point {
  x: number;
  y: number;
}

export function plotLog(entries: readonly LogEntry[], title: string): string {
  const steps = entries.filter((entry) => entry.kind === "step");
  const evaluations = entries.filter((entry) => entry.kind === "evaluation");
  const tokens = Math.max(1, ...steps.map((entry) => entry.tokens));
  const losses = [...steps, ...evaluations].map((entry) => entry.loss).filter(Number.isFinite);
  const highest = Math.max(...losses.slice(0, 1), quantile(losses, 0.98), 0.1);
  const lowest = Math.min(...losses, highest * 0.9);
  const [bottom, top] = [Math.log(lowest * 0.95), Math.log(highest * 1.05)];
  const x = (value: number) => margin + (value / tokens) * (width - 2 * margin);
  const y = (loss: number) => {
    const share = (Math.log(Math.max(loss, 1e-9)) - bottom) / (top - bottom);
    return height - margin - Math.min(1, Math.max(0, share)) * (height - 2 * margin);
  };
  const rates = Math.max(1e-12, ...steps.map(({ rate }) => rate));
  const rateY = (rate: number) => height - margin - (rate / rates) * (height - 2 * margin);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.exp(bottom + share * (top - bottom)));
  const last = evaluations.at(-1) ?? steps.at(-1);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${margin}" y="20" font-size="14">${escapeXml(title)}</text>`,
    ...ticks.map((tick) => line(tick, y(tick))),
    path(
      steps.map((entry) => ({ x: x(entry.tokens), y: rateY(entry.rate) })),
      "#ddaa33",
      "4 3",
    ),
    path(smooth(steps.map((entry) => ({ x: x(entry.tokens), y: y(entry.loss) }))), "#3366aa"),
    path(
      evaluations.map((entry) => ({ x: x(entry.tokens), y: y(entry.loss) })),
      "#bb3333",
    ),
    `<text x="${width - margin}" y="${height - 12}" text-anchor="end">${(tokens / 1e6).toFixed(2)} M tokens</text>`,
    `<text x="${width - margin}" y="20" text-anchor="end" fill="#3366aa">training loss <tspan fill="#bb3333">evaluation</tspan> <tspan fill="#ddaa33">rate</tspan>${last === undefined ? "" : ` · ${last.loss.toFixed(3)}`}</text>`,
    "</svg>",
    "",
  ].join("\n");
}

/** A page that shows `loss.svg` beside it, again and again while training writes it. */
export function watchPage(title: string): string {
  const name = escapeXml(title);
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    `<title>${name}: training</title><style>body{margin:1em auto;max-width:60em}img{width:100%}</style></head>`,
    `<body><img id="loss" src="loss.svg" alt="Loss and learning rate of ${name} by tokens"><script>`,
    'setInterval(() => { document.getElementById("loss").src = "loss.svg?" + Date.now(); }, 3000);',
    "</script></body></html>",
    "",
  ].join("\n");
}

function line(loss: number, at: number): string {
  return `<line x1="${margin}" x2="${width - margin}" y1="${at.toFixed(1)}" y2="${at.toFixed(1)}" stroke="#eee"/><text x="${margin - 6}" y="${(at + 4).toFixed(1)}" text-anchor="end">${loss.toPrecision(2)}</text>`;
}

function path(points: readonly Point[], colour: string, dashes?: string): string {
  if (points.length === 0) return "";
  const commands = points.map(({ x, y }, i) => `${i === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`);
  return `<path d="${commands.join("")}" fill="none" stroke="${colour}" stroke-width="1.5"${dashes ? ` stroke-dasharray="${dashes}"` : ""}/>`;
}

/** A running mean, and no more points than the picture can show. */
function smooth(points: readonly Point[]): Point[] {
  const every = Math.max(1, Math.floor(points.length / (width / 2)));
  const shown: Point[] = [];
  let mean = points[0]?.y ?? 0;
  points.forEach(({ x, y }, i) => {
    mean += (y - mean) * 0.1;
    if (i % every === 0 || i === points.length - 1) shown.push({ x, y: mean });
  });
  return shown;
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}

function escapeXml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll('"', "&quot;")
    .replaceAll(/\p{Cc}/gu, " ");
}
