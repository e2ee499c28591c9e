import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BitNetError } from "../base/errors.ts";
import { type ChatTemplateInput, compileChatTemplate } from "./chat-template.ts";

const input: ChatTemplateInput = {
  messages: [{ role: "user", content: "Hi" }],
  addGenerationPrompt: true,
  bosToken: "<s>",
  eosToken: "</s>",
};
const render = (source: string, change: Partial<ChatTemplateInput> = {}) =>
  compileChatTemplate(source, "test").render({ ...input, ...change });
const failed = expect.objectContaining({ code: "TEMPLATE_FAILED" });

describe("chat templates", () => {
  it("see what Hugging Face's renderer gives them", () => {
    expect(render("{{ bos_token }}{{ messages[0].role }}{{ messages[0]['content'] }}{{ eos_token }}")).toBe(
      "<s>userHi</s>",
    );
    expect(render("{{ add_generation_prompt }} {{ True }} {{ none is none }}")).toBe("true true true");
    expect(render("{% if tools %}x{% endif %}{{ tools is none }}")).toBe("true");
    expect(render("{{ tools[0].name }}", { tools: [{ name: "f" }] })).toBe("f");
    expect(render("{{ range(3) }} {{ range(5, 1, -2) }} {{ range(2, 2)|length }}")).toBe(
      "[0, 1, 2] [5, 3] 0",
    );
    expect(render("  {% if true %}\nx\n  {% endif %}\ny\n")).toBe("x\ny");
  });

  it("tell a fixed time, or none", () => {
    const now = new Date("2026-03-04T05:06:07Z");
    expect(render("{{ strftime_now('%d %b %Y, %H:%M') }}", { now })).toBe("04 Mar 2026, 05:06");
    expect(render("{% if strftime_now is defined %}x{% else %}y{% endif %}")).toBe("y");
  });

  it("keep the language's operations", () => {
    const cases: Record<string, string> = {
      "{{ 'a' + 'b' ~ 1 }}": "ab1",
      "{{ [1, 2] + [3] }}": "[1, 2, 3]",
      "{{ 'a' in 'cat' and not 'x' in ['y'] }}": "true",
      "{{ 'k' in {'k': 1} }}": "true",
      "{{ [3, 1, 2]|sort|join('-') }}": "1-2-3",
      "{{ 'a.b'.split('.')|last }}": "b",
      "{{ ' x '|trim|upper }}": "X",
      "{{ 'aXbX'|replace('X', '--') }}": "a--b--",
      "{{ 'aXbX'.replace('X', '', 1) }}": "abX",
      "{% set f = 'aXb'.replace %}{{ f('X', '') }}": "ab",
      "{{ 'a\\nb'|indent(2) }}": "a\n  b",
      "{{ 'a\\nb'|indent(width=2, first=true) }}": "  a\n  b",
      "{{ {'a': [1]}|tojson(indent=2) }}": '{\n  "a": [\n    1\n  ]\n}',
      "{{ [{'n': 'a'}, {'n': 'b'}]|selectattr('n', 'equalto', 'b')|map(attribute='n')|list }}": '["b"]',
      "{{ {'b': 1, 'a': 2}|dictsort }}": '[["a", 2], ["b", 1]]',
      "{{ 'abc'[1:] }}{{ [1, 2, 3][::-1] }}": "bc[3, 2, 1]",
      "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}": "a1",
      "{% for x in [1, 2, 3] if x > 1 %}{{ loop.index }}{{ x }} {% else %}none{% endfor %}": "12 23 ",
      "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}": "13",
      "{% macro f(x, y=2) %}{{ x }}{{ y }}{% endmacro %}{{ f(1) }}{{ f(1, y=3) }}": "1213",
      "{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}x{% endcall %}": "[x]",
      "{% filter upper %}abc{% endfilter %}": "ABC",
      "{% set ns = namespace(n=1) %}{% for x in range(3) %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}":
        "4",
      "{% set block %}a{{ 1 }}{% endset %}{{ block }}": "a1",
      "{{ missing|default('d') }}{{ 'x' if missing else 'y' }}": "dy",
      "{{ 'abc' is string }}{{ 'abc' is lower }}{{ [1]|first is odd }}": "truetruetrue",
    };
    for (const [source, expected] of Object.entries(cases)) expect(render(source), source).toBe(expected);
  });

  it("have their own strings mapped on request, and no others", () => {
    const mapLiteral = (literal: string) => literal.replaceAll("a", "A");
    const messages = [{ role: "user", content: "banana" }];
    expect(render("a{{ 'ba' }}{{ messages[0].content }}", { mapLiteral, messages })).toBe("AbAbanana");
  });

  it("raise errors with their own words", () => {
    expect(() => render("{{ raise_exception('no system role') }}")).toThrowError(
      /"test" failed: no system role$/,
    );
    expect(() => render("{{ raise_exception('x' ~ messages) }}")).toThrowError(failed);
    expect(() => render("{{ nothing() }}")).toThrowError(failed);
  });

  it.each([
    ["a role of another kind", { role: "user<|eot_id|>", content: "" }],
    ["no role", { content: "" }],
    ["content of parts", { role: "user", content: [{ type: "text" }] }],
    ["no content", { role: "user" }],
  ])("refuse messages with %s", (_, message) => {
    expect(() => render("", { messages: [message as never] })).toThrowError(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });

  it("refuse tools that JSON cannot hold", () => {
    const loop: unknown[] = [];
    loop.push(loop);
    for (const tools of [loop, [1n]]) {
      expect(() => render("", { tools })).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });
});

describe("syntax", () => {
  it.each<[string, string]>([
    ["an open block", "{% for x in messages %}"],
    ["an open expression", "{{ "],
    ["an open string", "{{ 'abc"],
    ["an open comment", "{# abc"],
    ["an unknown statement", "{% frob %}"],
    ["nonsense", "{{ a b }}"],
    ["parentheses", `{{ ${"(".repeat(60_000)}1${")".repeat(60_000)} }}`],
    ["open parentheses", `{{ ${"(".repeat(100_000)}`],
    ["lists", `{{ ${"[".repeat(60_000)}${"]".repeat(60_000)} }}`],
    ["negations", `{{ ${"not ".repeat(30_000)}1 }}`],
    ["conditions", `${"{% if a %}".repeat(5000)}${"{% endif %}".repeat(5000)}`],
    ["a long sum", `{{ 1${" + 1".repeat(20_000)} }}`],
    ["a huge text", "x".repeat(10_000_000)],
    ["much white space", `{{ 1 }}${" ".repeat(100_000)}{{ 2 }}`],
    ["white space again and again", `{%${" ".repeat(900)}`.repeat(140)],
    ["many parameters", `{% macro f(${Array.from({ length: 100 }, (_, i) => `a${i}`)}) %}{% endmacro %}`],
    ["many targets", `{% set ${Array.from({ length: 100 }, (_, i) => `a${i}`)} = 1 %}`],
  ])("fails cleanly on %s", (_, source) => {
    const started = performance.now();
    expect(() => compileChatTemplate(source, "test")).toThrowError(failed);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe("any text", () => {
  const words = [
    ..."{% {{ }} %} {%- -}} {# #} ( ) [ ] { } : , . | ~ + - * / ** == < not and or in is if else 1 'a' \" \\ x ns.a".split(
      " ",
    ),
  ];
  const statements = [
    "{% for m in messages %}",
    "{% endfor %}",
    "{% if m %}",
    "{% endif %}",
    "{% set ns = namespace(a=1) %}",
    "{% set x = ",
    "{% macro f(a) %}",
    "{% endmacro %}",
    "{% break %}",
  ];
  const operations = [
    "messages",
    "m.content",
    "[0]",
    "[::-1]",
    "|trim",
    "|tojson",
    "|join(',')",
    "|replace('a', 'b')",
    "range(5)",
  ];

  it("renders or ends in an error of this project", () => {
    const piece = fc.constantFrom(...words, ...statements, ...operations);
    const property = fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      try {
        render(pieces.join(" "));
      } catch (error) {
        expect(error).toBeInstanceOf(BitNetError);
      }
    });
    fc.assert(property, { numRuns: 3000, seed: 9 });
  });
});

/** Doubles `ns.s` from eight characters to 2^(3 + times). */
const grow = (text: string, times: number) =>
  `{% set ns = namespace(s='${text}') %}{% for i in range(${times}) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`;
const often = (body: string) => `{% for i in range(80000) %}${body}{% endfor %}`;
const many = "{% set x = range(80000) %}";

describe("budget", () => {
  it.each<[string, string]>([
    ["nested loops", "{% for a in range(3000) %}{% for b in range(3000) %}{{ a }}{% endfor %}{% endfor %}"],
    ["empty loops", "{% for a in range(3000) %}{% for b in range(3000) %}{% endfor %}{% endfor %}"],
    [
      "filtered loops",
      "{% for a in range(3000) %}{% for b in range(3000) if b == a %}{% endfor %}{% endfor %}",
    ],
    ["multiplied strings", "{{ 'a' * 1000000000 }}"],
    ["huge ranges", "{{ range(1000000000)|length }}"],
    ["huge ranges downwards", "{{ range(0, -1000000000, -1)|length }}"],
    ["ranges of fractions", "{{ range(0, 1, 0.0000001)|length }}"],
    ["doubled strings", grow("abababab", 100)],
    [
      "joined strings",
      "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    ],
    [
      "doubled lists",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    ],
    [
      "shared lists",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
    ],
    [
      "shared mappings",
      "{% set ns = namespace(s={'a': 1}) %}{% for i in range(99) %}{% set ns.s = {'a': ns.s, 'b': ns.s} %}{% endfor %}",
    ],
    [
      "chained namespaces",
      `{% set n0 = namespace(a='x') %}${Array.from({ length: 60 }, (_, i) => `{% set n${i + 1} = namespace(a=n${i}, b=n${i}) %}`).join("")}{{ n60 }}`,
    ],
    ["a namespace in itself", "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}"],
    ["a namespace in itself twice", "{% set ns = namespace() %}{% set ns.a = [ns, ns] %}{{ ns|tojson }}"],
    ["recursion", "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}"],
    [
      "branching recursion",
      "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    ],
    ["joins", `${many}{{ x|join('${"z".repeat(50_000)}') }}`],
    [
      "replacements",
      "{% set ns = namespace(s='aaaa') %}{% for i in range(30) %}{% set ns.s = ns.s|replace('a', 'aaaa') %}{% endfor %}",
    ],
    ["replacements of nothing", `${grow("aaaaaaaa", 10)}{{ ns.s|replace('', '${"z".repeat(5000)}') }}`],
    [
      "replacements by a method",
      "{% set ns = namespace(s='aaaa') %}{% for i in range(30) %}{% set f = ns.s.replace %}{% set ns.s = f('a', 'aaaa') %}{% endfor %}",
    ],
    ["searches for long strings", `${grow("aaaaaaaa", 15)}{{ ('b' + ns.s[:100000]) in ns.s }}`],
    ["replacements of long strings", `${grow("aaaaaaaa", 15)}{{ ns.s.replace(ns.s[:100000] + 'b', '') }}`],
    ["splits into many", `${grow("a,a,a,a,", 17)}{{ ns.s.split(',')|length }}`],
    ["splits into many words", `${grow("a a a a ", 17)}{{ ns.s.split()|length }}`],
    ["a method called often", `${grow("        ", 15)}{% set f = ns.s.strip %}${often("{% set y = f() %}")}`],
    ["a filter called often", `${grow("        ", 15)}${often("{% set y = ns.s|trim %}")}`],
    ["a test called often", `${grow("aaaaaaaa", 15)}${often("{% set y = ns.s is lower %}")}`],
    ["lists printed often", `${many}${often("{{ x }}")}`],
    ["lists compared often", `${many}${often("{% set y = x == 'a' %}")}`],
    ["lists searched often", `${many}${often("{% set y = -1 in x %}")}`],
    ["lists sorted often", `${many}${often("{% set y = x|sort %}")}`],
    ["lists turned often", `${many}${often("{% set y = x|reverse %}")}`],
    ["lists cut often", `${many}${often("{% set y = x[::-1] %}")}`],
    [
      "mappings sorted often",
      `{% set f = {'a': 1}.dictsort %}${often("{% set y = f() %}{% set y = f() %}")}`,
    ],
    ["long paths", `${grow(".a.a.a.a", 15)}{{ [1, 2, 3, 4, 5]|map(attribute=ns.s)|list }}`],
    ["paths of sorting", `${grow(".a.a.a.a", 15)}{{ [{'a': 1}, {'a': 2}]|sort(attribute=ns.s)|list }}`],
    ["wide indents", "{{ 'a\\nb'|indent(1000000000) }}"],
    ["wide indents by name", "{{ 'a\\nb'|indent(width=1000000000) }}"],
    ["wide JSON", "{{ messages|tojson(indent=1000000) }}"],
    ["JSON separators", `{{ messages|tojson(separators=['${"s".repeat(5000)}', ':']) }}`],
    ["big macros defined often", `${often(`{% macro f() %}${"{{ 1 }}".repeat(10_000)}{% endmacro %}`)}`],
    [
      "deep lookups",
      `{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% else %}${often("{{ nowhere }}")}{% endif %}{% endmacro %}{{ f(50) }}`,
    ],
    ["unpacked filter arguments", "{{ 'a'|replace(*['a', 'b']) }}"],
  ])("stops %s", (_, source) => {
    const started = performance.now();
    const before = process.memoryUsage().heapUsed;
    expect(() => render(source)).toThrowError(failed);
    expect(performance.now() - started).toBeLessThan(5000);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(400e6);
  });

  it("leaves room for long conversations", () => {
    const messages = Array.from({ length: 2000 }, (_, i) => ({
      role: i % 2 === 0 ? "user" : "assistant",
      content: `${"word ".repeat(100)}${i}`,
    }));
    const source =
      "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('order') }}{% endif %}" +
      "{% if loop.last and messages|length > 1 and '</think>' in m.content %}{% set c = m.content.split('</think>')[-1] %}" +
      "{% else %}{% set c = m.content %}{% endif %}{{ '<|' + m.role + '|>' + c|trim }}{% endfor %}";
    expect(render(source, { messages }).length).toBeGreaterThan(1_000_000);
    expect(render("{{ messages|tojson }}", { messages }).length).toBeGreaterThan(1_000_000);
  });

  it("leaves room for one long message", () => {
    const content = "line\n".repeat(200_000);
    const messages = [{ role: "user", content }];
    const source =
      "{{ messages[0].content|trim|replace('\\n', '<br>')|upper }}{{ 'x' in messages[0].content }}";
    expect(render(source, { messages }).length).toBe(4 * 200_000 + 4 * 199_999 + 5);
  });

  it("is new for every rendering", () => {
    const template = compileChatTemplate("{% for i in range(20000) %}{{ i }}{% endfor %}", "test");
    const first = template.render(input);
    for (let i = 0; i < 3; i++) expect(template.render(input)).toBe(first);
  });
});
