/** Formats times for chat templates, in English and UTC whatever the machine's settings, so that prompts reproduce. */

const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const months = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

/** The directives of Python's `strftime` that name parts of a date or time; unknown ones stay as they are. */
export function formatTime(time: Date, format: string): string {
  const pad = (value: number) => String(value).padStart(2, "0");
  const month = months[time.getUTCMonth()] ?? "";
  const day = days[time.getUTCDay()] ?? "";
  const directives: Readonly<Record<string, string>> = {
    "%Y": String(time.getUTCFullYear()),
    "%y": pad(time.getUTCFullYear() % 100),
    "%m": pad(time.getUTCMonth() + 1),
    "%B": month,
    "%b": month.slice(0, 3),
    "%d": pad(time.getUTCDate()),
    "%A": day,
    "%a": day.slice(0, 3),
    "%j": String(dayOfYear(time)).padStart(3, "0"),
    "%H": pad(time.getUTCHours()),
    "%I": pad(time.getUTCHours() % 12 || 12),
    "%p": time.getUTCHours() < 12 ? "AM" : "PM",
    "%M": pad(time.getUTCMinutes()),
    "%S": pad(time.getUTCSeconds()),
    "%%": "%",
  };
  return format.replace(/%[A-Za-z%]/g, (directive) => directives[directive] ?? directive);
}

function dayOfYear(time: Date): number {
  const midnight = Date.UTC(time.getUTCFullYear(), time.getUTCMonth(), time.getUTCDate());
  return 1 + (midnight - Date.UTC(time.getUTCFullYear(), 0, 1)) / 86_400_000;
}
