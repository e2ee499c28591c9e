/**
 * A terminal's screen, as `tmux capture-pane -e` gives it, as an SVG that needs nothing else. Its lines appear one after the other, where the
 * reader has not asked for less motion. Knows the few colours and letters that `bitnet` uses, and refuses others.
 */

const [cellWidth, lineHeight, fontSize] = [8.4, 20, 14];
const padding = 16;
const barHeight = 32;
/** Between two lines, and after one that a person types. */
const [pauseSeconds, typingSeconds] = [0.25, 1];

interface Span {
  text: string;
  classes: readonly string[];
}

export interface TerminalPicture {
  title: string;
  columns: number;
  /** Lines with escape sequences for colours. */
  lines: readonly string[];
  /** Lines that a person types, which appear after a pause. */
  isTyped: (line: string) => boolean;
}

export function terminalSvg({ title, columns, lines, isTyped }: TerminalPicture): string {
  const width = Math.ceil(2 * padding + columns * cellWidth);
  const height = barHeight + 2 * padding + lines.length * lineHeight;
  let seconds = 0;
  const rows = lines.map((line, index) => {
    const spans = readSpans(line);
    const text = spans.map((span) => span.text).join("");
    seconds += isTyped(text) ? typingSeconds : pauseSeconds;
    const y = barHeight + padding + (index + 0.75) * lineHeight;
    return `<text class="line" x="${padding}" y="${y}" style="animation-delay:${seconds.toFixed(2)}s">${spans.map(drawSpan).join("")}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(title)}">
<style>
text { font: ${fontSize}px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d8dee9; white-space: pre; }
.dim { fill: #8b93a1; }
.bold { font-weight: 600; }
@media (prefers-reduced-motion: no-preference) { .line { animation: appear 0.01s both; } }
@keyframes appear { from { opacity: 0; } to { opacity: 1; } }
</style>
<rect width="${width}" height="${height}" rx="8" fill="#1e222a"/>
<circle cx="20" cy="17" r="5" fill="#e06c75"/><circle cx="38" cy="17" r="5" fill="#e5c07b"/><circle cx="56" cy="17" r="5" fill="#98c379"/>
<text class="dim" x="${width / 2}" y="22" text-anchor="middle">${escapeXml(title)}</text>
${rows.join("\n")}
</svg>
`;
}

/** The parts of a line between escape sequences, and how each looks. */
function readSpans(line: string): Span[] {
  const [first = "", ...parts] = line.split("\u001b");
  const spans: Span[] = [{ text: first, classes: [] }];
  let classes: readonly string[] = [];
  for (const part of parts) {
    const [, codes, text = ""] = /^\[([\d;]*)m(.*)$/.exec(part) ?? [];
    if (codes === undefined) throw new Error(`record: an unknown sequence in ${JSON.stringify(part)}`);
    for (const code of codes.split(";")) classes = styled(classes, Number(code));
    spans.push({ text, classes });
  }
  return spans.filter(({ text }) => text !== "");
}

function styled(classes: readonly string[], code: number): readonly string[] {
  if (code === 0 || code === 22) return [];
  if (code === 39 || code === 49) return classes;
  if (code === 1) return [...classes, "bold"];
  if (code === 2) return [...classes, "dim"];
  throw new Error(`record: the letters of code ${code} are unknown`);
}

function drawSpan({ text, classes }: Span): string {
  return classes.length === 0
    ? escapeXml(text)
    : `<tspan class="${classes.join(" ")}">${escapeXml(text)}</tspan>`;
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
