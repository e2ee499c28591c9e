/**
 * What a terminal gets beyond plain text: a progress bar, dim lines. All of it goes to stderr, and only when that is a terminal that moves its
 * cursor; colours also respect NO_COLOR and FORCE_COLOR. Of data only names pass through here, made harmless.
 */
import stringWidth from "string-width";
import { printable } from "./format.ts";

/** Not so the terminals that TERM calls dumb: they show escape sequences as letters. */
export function movesCursor(stream: { isTTY?: boolean }): boolean {
  return stream.isTTY === true && process.env.TERM !== "dumb";
}

/** A bar that appears once the work has lasted this long. */
const barDelayMs = 1000;
const barIntervalMs = 100;
const barWidth = 30;

export interface Progress {
  /** Fraction done, 0…1. */
  update(fraction: number): void;
  /** Removes the bar. */
  end(): void;
}

/** A progress bar on stderr; nothing at all when that is no terminal, or a dumb one. */
export function startProgress(label: string): Progress {
  const stream = process.stderr;
  if (!movesCursor(stream)) return { update() {}, end() {} };
  const start = performance.now();
  let lastDraw = start + barDelayMs - barIntervalMs;
  let isDrawn = false;
  return {
    update(fraction) {
      const now = performance.now();
      if (now - lastDraw < barIntervalMs) return;
      lastDraw = now;
      isDrawn = true;
      stream.write(`\r${cut(`${label} ${renderBar(fraction)}`)}`);
    },
    end() {
      if (isDrawn) stream.write("\r\u001b[2K");
    },
  };
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** As many cells as a line of stderr has: one that wraps could not be taken away. */
export function cut(text: string): string {
  let left = Math.max(1, (process.stderr.columns || 80) - 1);
  let out = "";
  for (const { segment } of graphemes.segment(printable(text))) {
    left -= stringWidth(segment);
    if (left < 0) break;
    out += segment;
  }
  return out;
}

export interface Status {
  /** @param text What is going on, in a few words. */
  update(fraction: number, text: string): void;
  /** Removes the line. */
  end(): void;
}

/** A bar with words behind it on stderr; nothing at all when that is no terminal, or a dumb one. */
export function startStatus(): Status {
  const stream = process.stderr;
  if (!movesCursor(stream)) return { update() {}, end() {} };
  let lastDraw = -Infinity;
  let isDrawn = false;
  return {
    update(fraction, text) {
      const now = performance.now();
      if (now - lastDraw < barIntervalMs) return;
      lastDraw = now;
      isDrawn = true;
      stream.write(`\r\u001b[2K${cut(`${renderBar(fraction)} ${text}`)}`);
    },
    end() {
      if (isDrawn) stream.write("\r\u001b[2K");
    },
  };
}

/** `[█████░░░░░]  50%` */
export function renderBar(fraction: number): string {
  const clamped = Math.min(1, Math.max(0, fraction));
  const filled = Math.round(clamped * barWidth);
  const percent = String(Math.floor(clamped * 100)).padStart(3);
  return `[${"█".repeat(filled)}${"░".repeat(barWidth - filled)}] ${percent}%`;
}

/** `text` in faint letters where stderr shows colours. */
export function dim(text: string): string {
  return usesColour() ? `\u001b[2m${text}\u001b[22m` : text;
}

/** As commander decides for its help. Sources: no-color.org, force-color.org. */
function usesColour(): boolean {
  const { NO_COLOR = "", FORCE_COLOR = "" } = process.env;
  if (NO_COLOR !== "") return false;
  if (FORCE_COLOR !== "") return FORCE_COLOR !== "0" && FORCE_COLOR !== "false";
  return movesCursor(process.stderr);
}
