/** Results for people: a Markdown table and an SVG of bars, each beside chance and the published figure of BitNet b1.58 2B-4T. */
import type { TaskResult } from "../run-eval.ts";

const percent = (share: number) => (100 * share).toFixed(2);

export function markdownTable(results: readonly TaskResult[]): string {
  const rows = results.flatMap(({ task, scores, nItems, nAll, skipped }) => {
    const items = nItems === nAll ? `${nItems}` : `${nItems} of ${nAll}`;
    if (skipped !== null) return [`| ${task.name} | – | skipped: ${skipped} | – | – | – |`];
    return Object.entries(scores).map(([metric, { value, standardError }]) => {
      const isMain = metric === task.mainMetric;
      const error = standardError === null ? "" : ` ± ${percent(standardError)}`;
      const published = isMain && task.published !== null ? percent(task.published) : "–";
      return `| ${task.name} | ${items} | ${isMain ? `**${metric}**` : metric} | ${percent(value)}${error} | ${percent(task.chance)} | ${published} |`;
    });
  });
  return [
    "| task | items | metric | score, % | chance | 2B-4T report |",
    "|---|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

const [rowHeight, left, barWidth, top] = [34, 150, 440, 46];

export function barsSvg(results: readonly TaskResult[], title: string): string {
  const shown = results.filter(({ skipped }) => skipped === null);
  const height = top + shown.length * rowHeight + 20;
  const x = (share: number) => (left + share * barWidth).toFixed(1);
  const rows = shown.flatMap(({ task, scores }, i) => {
    const score = scores[task.mainMetric] ?? { value: 0, standardError: null };
    const y = top + i * rowHeight;
    const mark = (share: number, colour: string) =>
      `<line x1="${x(share)}" x2="${x(share)}" y1="${y - 3}" y2="${y + 23}" stroke="${colour}" stroke-width="2"/>`;
    return [
      `<text x="${left - 8}" y="${y + 15}" text-anchor="end">${escapeXml(task.name)}</text>`,
      `<rect x="${left}" y="${y}" width="${(score.value * barWidth).toFixed(1)}" height="20" fill="#3366aa"/>`,
      mark(task.chance, "#999"),
      ...(task.published === null ? [] : [mark(task.published, "#dd8833")]),
      `<text x="${left + barWidth + 8}" y="${y + 15}">${percent(score.value)}</text>`,
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + barWidth + 70} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="100%" height="100%" fill="#fff"/><text x="${left}" y="18" font-size="15">${escapeXml(title)}</text>`,
    `<text x="${left}" y="36" font-size="11" fill="#666">bars: this model · <tspan fill="#999">grey: chance</tspan> · <tspan fill="#dd8833">orange: BitNet b1.58 2B-4T as published</tspan></text>`,
    ...rows,
    "</svg>",
    "",
  ].join("\n");
}

function escapeXml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(/\p{Cc}/gu, " ");
}
