/** A line chart in SVG: one series over time, gaps where nothing was measured. Knows nothing of what it shows. */

export interface Point {
  readonly time: number;
  readonly value: number | null;
}

export interface ChartOptions {
  readonly title: string;
  /** Writes a value for people. */
  readonly format: (value: number) => string;
  /** The scale goes up to this at least. */
  readonly atLeast: number;
}

const width = 400;
const height = 120;
const space = "http://www.w3.org/2000/svg";

export class Chart {
  readonly element = document.createElement("figure");
  readonly #options: ChartOptions;
  readonly #area = document.createElementNS(space, "path");
  readonly #line = document.createElementNS(space, "path");
  readonly #value = document.createElement("span");
  readonly #from = document.createElement("span");
  readonly #to = document.createElement("span");
  readonly #svg = document.createElementNS(space, "svg");

  constructor(options: ChartOptions) {
    this.#options = options;
    const caption = document.createElement("figcaption");
    caption.append(options.title, this.#value);
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#svg.setAttribute("preserveAspectRatio", "none");
    this.#svg.setAttribute("role", "img");
    for (const part of [0, 0.5, 1]) {
      const grid = document.createElementNS(space, "line");
      const y = String(1 + part * (height - 2));
      for (const [name, value] of [
        ["x1", "0"],
        ["x2", String(width)],
        ["y1", y],
        ["y2", y],
      ] as const)
        grid.setAttribute(name, value);
      this.#svg.append(grid);
    }
    this.#area.setAttribute("class", "area");
    this.#svg.append(this.#area, this.#line);
    const times = document.createElement("div");
    times.className = "times";
    times.append(this.#from, this.#to);
    this.element.append(caption, this.#svg, times);
  }

  /** @param from The time at the left side; the right side is `to`. */
  draw(points: readonly Point[], from: number, to: number): void {
    const { title, format, atLeast } = this.#options;
    const values = points.map(({ value }) => value).filter((value): value is number => value !== null);
    const top = niceTop(Math.max(atLeast, ...values));
    const x = (time: number) => ((time - from) / Math.max(1, to - from)) * width;
    const y = (value: number) => height - 1 - (value / top) * (height - 2);
    const at = ({ time, value }: { time: number; value: number }) =>
      `${x(time).toFixed(1)},${y(value).toFixed(1)}`;
    const found = runsOf(points);
    const runs = found.map((run) => run.map(at));
    // The newest value is at the right side: its mark lies before it.
    const marks = found.map(([first], i) =>
      first === undefined || runs[i]?.length !== 1
        ? `M${runs[i]?.join("L")}`
        : `M${Math.max(0, x(first.time) - loneWidth).toFixed(1)},${y(first.value).toFixed(1)}h${loneWidth}`,
    );
    this.#line.setAttribute("d", marks.join(""));
    const area = runs.map((run) => {
      const [first = "", last = ""] = [run[0]?.split(",")[0], run.at(-1)?.split(",")[0]];
      return `M${first},${height}L${run.join("L")}L${last},${height}Z`;
    });
    this.#area.setAttribute("d", area.join(""));
    const last = values.at(-1);
    this.#value.textContent = last === undefined ? "–" : `${format(last)} · up to ${format(top)}`;
    this.#svg.ariaLabel = `${title}: ${last === undefined ? "nothing measured" : format(last)}`;
    this.#from.textContent = clock(from, to - from);
    this.#to.textContent = clock(to, to - from);
  }
}

/** Stretches without a gap. */
function runsOf(points: readonly Point[]): { time: number; value: number }[][] {
  const runs: { time: number; value: number }[][] = [];
  let isOpen = false;
  for (const { time, value } of points) {
    if (value === null) isOpen = false;
    else if (isOpen) runs.at(-1)?.push({ time, value });
    else {
      runs.push([{ time, value }]);
      isOpen = true;
    }
  }
  return runs;
}

/** The next of 1, 2, 5, 10, 20, 50 … */
function niceTop(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(value));
  const found = [1, 2, 5, 10].find((step) => value <= step * unit);
  return (found ?? 10) * unit;
}

/** A value that stands alone is a mark wide enough to be seen. */
const loneWidth = 5;
/** Shorter stretches begin and end within the same minutes. */
const secondsBelowMs = 600_000;

function clock(time: number, span: number): string {
  const seconds = span < secondsBelowMs ? ({ second: "2-digit" } as const) : {};
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...seconds });
}
