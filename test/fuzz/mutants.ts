/**
 * Damages inputs of every kind the way files are damaged, and the way somebody does who means harm: bytes, JSON, lines of JSON, templates.
 * The same random numbers give the same mutant. Knows nothing of readers.
 */
export type Random = () => number;

/** @param list Not empty. */
export function pick<T>(list: readonly T[], random: Random): T {
  return list[random() % list.length] as T;
}

const attackNumbers: readonly bigint[] = [
  ...[0n, 1n, 2n, 31n, 33n, 255n, 65_536n, 2n ** 24n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n],
  ...[2n ** 32n, 2n ** 40n, 2n ** 53n, 2n ** 62n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n],
];

/**
 * One to three changes: bits, bytes and numbers, ranges written over others; half of the time also ranges removed or doubled, and the end cut
 * off.
 * @param reach Bytes from the start that are hit most.
 */
export function otherBytes(bytes: Uint8Array, random: Random, reach = bytes.length): Uint8Array {
  let mutant: Buffer = Buffer.from(bytes);
  const ways = random() % 2 === 0 ? 4 : 7;
  for (let n = random() % 3; n >= 0 && mutant.length > 8; n--)
    mutant = changedBytes(mutant, random, { reach, way: random() % ways });
  return mutant;
}

function changedBytes(bytes: Buffer, random: Random, { reach, way }: { reach: number; way: number }): Buffer {
  const near = Math.min(bytes.length, random() % 8 === 0 ? bytes.length : reach);
  const at = random() % near;
  const length = 1 + (random() % 32);
  const piece = bytes.subarray(at, at + length);
  switch (way) {
    case 0:
      bytes[at] = random();
      return bytes;
    case 1:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (random() % 8));
      return bytes;
    case 2:
      return bytes.copyWithin(random() % near, at, at + length);
    case 3:
      if (at + 8 <= bytes.length) bytes.writeBigUInt64LE(pick(attackNumbers, random), at);
      return bytes;
    case 4:
      return bytes.subarray(0, at);
    case 5:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    default:
      return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
  }
}

/** JSON that no JavaScript value spells: written in place of a text of its own. */
const deep = 20_000;
const rawJson: readonly string[] = [
  `${"[".repeat(deep)}${"]".repeat(deep)}`,
  `${'{"a":'.repeat(deep)}1${"}".repeat(deep)}`,
  "1e999",
  "-1e999",
  "-0",
  "12345678901234567890123456789",
  '{"__proto__":{"polluted":true},"constructor":{"prototype":1}}',
  '{"length":4294967295}',
  '{"toString":1,"valueOf":2}',
  `"${"x".repeat(70_000)}"`,
  '"\\ud800"',
  '"\\u0000\\u001b[31m"',
  `[${"0,".repeat(2000)}0]`,
];
const placeholder = (index: number) => `\u0001raw ${index}\u0001`;

const attackJson: readonly unknown[] = [
  ...[undefined, null, true, false, 0, 1, 2, 3, -1, 0.5, 64, 1e308, 2 ** 31, 2 ** 32, 2 ** 53, "", "x", " "],
  ...["64", "default", [], {}, [1], [[]], [null], ["a", "a"], { a: 1 }, { type: "Sequence" }, [64, 64]],
  ...rawJson.map((_, index) => placeholder(index)),
];

/** The same text with one to three members changed, or now and then with changed bytes. */
export function otherJson(text: string, random: Random): string {
  if (random() % 6 === 0) return Buffer.from(otherBytes(Buffer.from(text), random)).toString("latin1");
  let value: unknown = JSON.parse(text);
  for (let n = random() % 3; n >= 0; n--) value = otherMember(value, random);
  const changed = JSON.stringify(value) ?? "";
  return changed.replace(/"\\u0001raw (\d+)\\u0001"(:?)/g, (whole, index: string, colon: string) =>
    colon === "" ? (rawJson[Number(index)] ?? whole) : '"__proto__":',
  );
}

/** Only what leads to the change is copied. */
function otherMember(value: unknown, random: Random): unknown {
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
  const key = keys.length === 0 ? undefined : pick(keys, random);
  if (key === undefined || random() % 10 === 0) return pick(attackJson, random);
  const isDeeper = random() % 4 !== 0;
  const member = (value as Record<string, unknown>)[key];
  const changed = isDeeper ? otherMember(member, random) : pick(attackJson, random);
  if (Array.isArray(value)) {
    const copy = [...(value as unknown[])];
    if (isDeeper || random() % 2) copy[Number(key)] = changed;
    else copy.splice(Number(key), random() % 3, changed, member);
    return copy;
  }
  const { [key]: _, ...rest } = value as Record<string, unknown>;
  if (!isDeeper && random() % 3 === 0) return { ...rest, [pick([...keys, placeholder(0)], random)]: member };
  return { ...rest, [key]: changed };
}

/** Lines of JSON: one of them changed, and lines missing, doubled, joined, or of something else. */
export function otherLines(text: string, random: Random): string {
  const lines = text.split("\n");
  const at = random() % lines.length;
  const line = lines[at] ?? "";
  switch (random() % 6) {
    case 0:
      lines.splice(
        at,
        1,
        pick(["null", "3", '"x"', "[]", "{}", "\u0000", "{", "\r", "\ufeff{}", " "], random),
      );
      break;
    case 1:
      lines.splice(at, 2, `${line}${lines[at + 1] ?? ""}`);
      break;
    case 2:
      lines.splice(at, 0, line);
      break;
    default:
      lines[at] = line.startsWith("{") || line.startsWith('"') ? otherJson(line, random) : `${line}${line}`;
  }
  return lines.join(random() % 8 === 0 ? "\r\n" : "\n");
}

const tableParts: readonly string[] = [
  ...[
    '"',
    '""',
    '"""',
    ",",
    ",,",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\u0000",
    "\ufeff",
    ";",
    "\t",
    '"\n',
    '",',
    '"x"y',
    "\ud800",
  ],
  ...[
    "__proto__,",
    "constructor,",
    "toString",
    "text,text,text",
    `${",".repeat(3000)}`,
    `"${"x\n".repeat(40_000)}"`,
  ],
];

/** Signs of a table of comma-separated values put in, taken out and doubled, lines moved, or bytes changed. */
export function otherTable(text: string, random: Random): Uint8Array {
  if (random() % 5 === 0) return otherBytes(Buffer.from(text), random);
  let table = text;
  for (let n = random() % 3; n >= 0; n--) {
    const at = random() % (table.length + 1);
    const end = at + (random() % 4 === 0 ? 1 + (random() % 12) : 0);
    const put = random() % 8 === 0 ? text.slice(random() % text.length) : pick(tableParts, random);
    table = table.slice(0, at) + put + table.slice(end);
  }
  return Buffer.from(table);
}

const templateParts = [
  ..."{{ }} {% %} {# #} {%- -%} {{- -}} ( ) [ ] { } | . , : ~ + - * ** / // % == != < <= in not and or is if else".split(
    " ",
  ),
  ..."for endfor endif elif set endset macro endmacro call endcall filter endfilter raw endraw with generation".split(
    " ",
  ),
  ..."recursive loop messages message namespace range true none undefined caller varargs kwargs break continue".split(
    " ",
  ),
  ...["range(10**9)", "'a' * 10**9", "[[]] * 10**8", "2 ** 10000", "10 ** -10000", "1e400", "'\\x'", "'"],
  ...[
    "{% for i in range(100000) %}{% for j in range(100000) %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
  ],
  ...["| join", "| map('upper')", "| map(attribute='a.b.c')", "| tojson(indent=10**9)", "| groupby('role')"],
  ...[
    "| indent(10**9)",
    "| center(10**9)",
    "| batch(0)",
    "| batch(10**9, 1)",
    "| slice(10**9)",
    "| truncate(-5)",
  ],
  ...[
    "| sort(attribute=messages)",
    "| format(1)",
    "'%999999999s' % 1",
    "'%.999999999f' % 1.5",
    "| round(10**9)",
  ],
  ...[
    ".replace('', 'a' * 10**6)",
    ".split('')",
    ".zfill(10**9)",
    "[::0]",
    "[10**9:-10**9:-1]",
    "| items",
    "| list",
  ],
  ...[
    "{% set x = [] %}{{ x.append(x) }}{{ x }}",
    "messages.append(messages)",
    "loop(messages)",
    "strftime_now('%'*9)",
  ],
  ...[
    "{% set ns = namespace(a=1) %}{% set ns.a = ns %}{{ ns }}",
    "raise_exception(messages)",
    "__class__",
    "constructor",
  ],
  ...[
    "((((((((".repeat(500),
    "[".repeat(3000),
    "{% if 1 %}".repeat(3000),
    "-".repeat(5000),
    "not ".repeat(5000),
  ],
  ...["a.b".repeat(3000), "~ messages ".repeat(3000), "| trim".repeat(3000), "\u0000", "\ud800"],
];

/** Words and signs of templates removed, doubled, replaced, or taken from another one. */
export function otherTemplate(sources: readonly string[], random: Random): string {
  const words = wordsOf(pick(sources, random));
  for (let n = random() % 4; n >= 0; n--) {
    const at = random() % (words.length + 1);
    const length = 1 + (random() % 6);
    const others = wordsOf(random() % 3 === 0 ? pick(sources, random) : "");
    const from = random() % (others.length + 1);
    const put = others.length > 0 ? others.slice(from, from + 4 * length) : [pick(templateParts, random)];
    if (random() % 4 === 0) words.splice(at, length);
    else words.splice(at, random() % 3, ...put);
  }
  return words.join("");
}

function wordsOf(source: string): string[] {
  return source.match(/\{[{%#]-?|-?[}%#]\}|\w+|\s+|[^\w\s]/g) ?? [];
}
