/** JSON as Python's `json.dumps` writes it, for the filter `tojson`. */
import {
  Float,
  floatText,
  isDict,
  isList,
  isTrue,
  type Meter,
  Tuple,
  templateError,
  typeName,
  type Value,
} from "./template-values.ts";

export interface JsonOptions {
  readonly indent: number | null;
  readonly separators: readonly [string, string];
  readonly sortsKeys: boolean;
  readonly isAscii: boolean;
}

/** @throws BitNetError TEMPLATE_FAILED for what JSON cannot hold, and for separators that are longer than any that are used. */
export function jsonOptions(named: ReadonlyMap<string, Value>): JsonOptions {
  const indent = named.get("indent") ?? null;
  if (indent !== null && !(typeof indent === "number" && indent >= 0 && indent <= 16))
    throw templateError("asks tojson to indent by more than 16, or by no number");
  const given = named.get("separators") ?? null;
  const list = given instanceof Tuple ? given.items : given;
  let separators: [string, string] = [indent === null ? ", " : ",", ": "];
  if (list !== null) {
    const [item, key] = isList(list) ? list : [];
    if (typeof item !== "string" || typeof key !== "string" || item.length + key.length > 32)
      throw templateError("gives tojson separators that are no two short texts");
    separators = [item, key];
  }
  return {
    indent,
    separators,
    sortsKeys: isTrue(named.get("sort_keys") ?? false),
    isAscii: isTrue(named.get("ensure_ascii") ?? false),
  };
}

export function writeJson(value: Value, options: JsonOptions, meter: Meter): string {
  const out: string[] = [];
  let length = 0;
  const write = (text: string) => {
    length += text.length + 1;
    meter.make(text.length + 1);
    if (length > meter.longest) throw templateError(`a value grew past ${meter.longest} characters`);
    out.push(text);
  };
  writeItem(value, { ...options, write }, 0);
  return out.join("");
}

type Writer = JsonOptions & { write(text: string): void };

function writeItem(value: Value, writer: Writer, depth: number): void {
  if (depth > 64) throw templateError("a value is nested more than 64 levels deep");
  const { write } = writer;
  const items = value instanceof Tuple ? value.items : value;
  if (items === null || typeof items === "boolean" || typeof items === "number") write(String(items));
  else if (typeof items === "string") write(jsonText(items, writer));
  else if (items instanceof Float)
    write(floatText(items.value).replace("nan", "NaN").replace("inf", "Infinity"));
  else if (isList(items))
    writeList(
      "[",
      items.map((item) => () => writeItem(item, writer, depth + 1)),
      "]",
      writer,
      depth,
    );
  else if (isDict(items)) {
    const entries = [...items].map(
      ([key, item]) => [typeof key === "string" ? key : String(key), item] as const,
    );
    if (writer.sortsKeys) entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    const writers = entries.map(([key, item]) => () => {
      write(jsonText(key, writer) + writer.separators[1]);
      writeItem(item, writer, depth + 1);
    });
    writeList("{", writers, "}", writer, depth);
  } else throw templateError(`${typeName(value)} cannot be written as JSON`);
}

function writeList(
  open: string,
  items: readonly (() => void)[],
  close: string,
  { write, indent, separators }: Writer,
  depth: number,
): void {
  write(open);
  const line = (level: number) =>
    indent === null || items.length === 0 ? "" : `\n${" ".repeat(indent * level)}`;
  for (const [index, item] of items.entries()) {
    write((index > 0 ? separators[0] : "") + line(depth + 1));
    item();
  }
  write(line(depth) + close);
}

function jsonText(text: string, { isAscii }: JsonOptions): string {
  const json = JSON.stringify(text);
  if (!isAscii) return json;
  return json.replace(/[\u007f-\uffff]/g, (unit) =>
    unit === "\u007f" ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
