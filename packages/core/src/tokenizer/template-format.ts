/** Python's two ways to fill texts in: `"%s" % x` and `"{}".format(x)`, as far as templates use them. */
import {
  Float,
  floatText,
  isDict,
  type Meter,
  numberOf,
  printed,
  represented,
  Tuple,
  templateError,
  typeName,
  type Value,
} from "./template-values.ts";

export function formatPercent(
  text: string,
  value: Value,
  meter: Meter,
  named?: ReadonlyMap<string, Value>,
): string {
  const args = value instanceof Tuple ? value.items : [value];
  let next = 0;
  const filled = text.replace(
    /%(?:\((\w+)\))?([-0 +#]*)(\d*)(?:\.(\d+))?([a-zA-Z%])?/g,
    (whole, key, flags, width, digits, kind) => {
      if (kind === "%") return "%";
      const item = key !== undefined ? (isDict(value) ? value.get(key) : named?.get(key)) : args[next++];
      if (item === undefined) throw templateError(`format ${JSON.stringify(whole)} has no value to fill in`);
      if (Number(width) > 1000 || Number(digits) > 100)
        throw templateError(`format ${JSON.stringify(whole)} is too wide`);
      let shown = converted(item, kind, digits, meter);
      if (flags.includes("+") && numberOf(item) !== null && !shown.startsWith("-")) shown = `+${shown}`;
      if (flags.includes("-")) return shown.padEnd(Number(width));
      const sign = /^[-+]/.exec(shown)?.[0] ?? "";
      const isNumeric = kind !== "s" && kind !== "r";
      return flags.includes("0") && isNumeric
        ? sign + shown.slice(sign.length).padStart(Number(width) - sign.length, "0")
        : shown.padStart(Number(width));
    },
  );
  if (next < args.length && !isDict(value) && named === undefined)
    throw templateError("not all values of a format were used");
  return meter.text(filled);
}

function converted(item: Value, kind: string, digits: string | undefined, meter: Meter): string {
  if (kind === "s" || kind === "r") {
    const text = kind === "s" ? printed(item, meter) : represented(item, meter);
    return digits === undefined ? text : Array.from(text).slice(0, Number(digits)).join("");
  }
  const number = numberOf(item);
  if (number === null) throw templateError(`format %${kind} takes a number, found ${typeName(item)}`);
  if (kind === "d" || kind === "i" || kind === "u") return String(Math.trunc(number));
  if (kind === "f" || kind === "F") return number.toFixed(Number(digits ?? 6));
  if (kind === "x" || kind === "X")
    return kind === "x" ? number.toString(16) : number.toString(16).toUpperCase();
  throw templateError(`format %${kind} is not supported`);
}

export function formatBraces(
  text: string,
  args: readonly Value[],
  named: ReadonlyMap<string, Value>,
  meter: Meter,
): string {
  let next = 0;
  const filled = text.replace(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g, (whole, field: string | undefined) => {
    if (whole === "{{") return "{";
    if (whole === "}}") return "}";
    if (field === undefined) throw templateError("format() has a single brace");
    const [, key = "", conversion, spec] = /^(\w*)(?:!([rs]))?(?::(.*))?$/.exec(field) ?? [];
    const value = key === "" ? args[next++] : /^\d+$/.test(key) ? args[Number(key)] : named.get(key);
    if (value === undefined) throw templateError(`format() has no value for ${JSON.stringify(whole)}`);
    if (spec === undefined || spec === "")
      return conversion === "r" ? represented(value, meter) : printed(value, meter);
    return specified(value, spec);
  });
  return meter.text(filled);
}

function specified(value: Value, spec: string): string {
  const [, zero, width = "", digits, kind] = /^(0?)(\d*)(?:\.(\d+))?([df]?)$/.exec(spec) ?? [];
  const number = numberOf(value);
  if (zero === undefined || number === null || Number(width) > 1000 || Number(digits ?? 0) > 100)
    throw templateError(`format() with ${JSON.stringify(spec)} is not supported`);
  const shown =
    digits !== undefined || kind === "f"
      ? number.toFixed(Number(digits ?? 6))
      : value instanceof Float
        ? floatText(number)
        : String(number);
  return shown.padStart(Number(width), zero === "0" ? "0" : " ");
}
