/** An SVG of drawings one below the other, and what they share. No background and colours of middle lightness, so that they read on light and on dark pages. */

export interface Drawing {
  height: number;
  body: string;
}

export const width = 720;
export const ink = "#7d838c";
const colours = ["#3a7fc8", "#d07a24", "#2f9a6b", "#a85fc0", "#c2514f", "#8a8f3a"];

/** One picture of several drawings, one below the other. */
export function svgDocument(drawings: readonly Drawing[]): string {
  const height = drawings.reduce((sum, drawing) => sum + drawing.height, 0);
  let top = 0;
  const groups = drawings.map(({ height: own, body }) => {
    const group = `<g transform="translate(0 ${top})">\n${body}\n</g>`;
    top += own;
    return group;
  });
  const style = `font-family="system-ui, sans-serif" font-size="13" fill="${ink}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ${style}>\n${groups.join("\n")}\n</svg>\n`;
}

export function text(
  content: string,
  x: number,
  y: number,
  { anchor = "start", weight = "normal" }: { anchor?: string; weight?: string } = {},
): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" font-weight="${weight}">${escapeXml(content)}</text>`;
}

export function colourOf(index: number): string {
  return colours[index % colours.length] ?? ink;
}

export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

export function escapeXml(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
