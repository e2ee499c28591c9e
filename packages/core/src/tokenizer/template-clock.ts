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

/**
 * The directives of Python's `strftime` for parts of a date or time, with a minus those without their padding, as on Linux; what is no
 * directive stays as it is.
 */
export function formatTime(time: Date, format: string): string {
  const pad = (value: number) => String(value).padStart(2, "0");
  const pad3 = (value: number) => String(value).padStart(3, "0");
  const month = months[time.getUTCMonth()] ?? "";
  const day = days[time.getUTCDay()] ?? "";
  const directives: Readonly<Record<string, string>> = {
    "%Y": String(time.getUTCFullYear()),
    "%y": pad(time.getUTCFullYear() % 100),
    "%m": pad(time.getUTCMonth() + 1),
    "%B": month,
    "%b": month.slice(0, 3),
    "%d": pad(time.getUTCDate()),
    "%e": String(time.getUTCDate()).padStart(2),
    "%A": day,
    "%a": day.slice(0, 3),
    "%h": month.slice(0, 3),
    "%u": String(time.getUTCDay() || 7),
    "%w": String(time.getUTCDay()),
    "%j": pad3(dayOfYear(time)),
    "%H": pad(time.getUTCHours()),
    "%I": pad(time.getUTCHours() % 12 || 12),
    "%p": time.getUTCHours() < 12 ? "AM" : "PM",
    "%M": pad(time.getUTCMinutes()),
    "%S": pad(time.getUTCSeconds()),
    "%f": `${pad3(time.getUTCMilliseconds())}000`,
    "%Z": "", // as of a time that belongs to no zone
    "%z": "",
    "%%": "%",
  };
  const whole: Readonly<Record<string, string>> = {
    "%F": "%Y-%m-%d",
    "%T": "%H:%M:%S",
    "%X": "%H:%M:%S",
    "%R": "%H:%M",
    "%D": "%m/%d/%y",
    "%x": "%m/%d/%y",
    "%c": "%a %b %e %H:%M:%S %Y",
  };
  return format
    .replace(/%[%A-Za-z]/g, (directive) => whole[directive] ?? directive)
    .replace(/%(-?)([A-Za-z]|%)/g, (text, minus, letter) => {
      const known = directives[`%${letter}`];
      if (known === undefined) return text;
      return minus === "-" && /^[ 0]/.test(known)
        ? known.slice(0, -1).replace(/^[ 0]+/, "") + known.slice(-1)
        : known;
    });
}

function dayOfYear(time: Date): number {
  const midnight = Date.UTC(time.getUTCFullYear(), time.getUTCMonth(), time.getUTCDate());
  return 1 + (midnight - Date.UTC(time.getUTCFullYear(), 0, 1)) / 86_400_000;
}
