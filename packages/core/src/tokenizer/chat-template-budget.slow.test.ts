/** Templates that would go on for ever, or take memory without bound, end at their budget; honest long ones do not. */
import { describe, expect, it } from "vitest";
import { failed, input, render } from "./chat-template.test.kit.ts";
import { compileChatTemplate } from "./chat-template.ts";

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
      "{% set ns = namespace(s={'a': 1}) %}{% for i in range(99) %}{% set ns.s = {'a': ns.s, 'b': ns.s} %}{% endfor %}{{ ns.s }}",
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
    [
      "deep lookups",
      `{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% else %}${often("{{ nowhere }}")}{% endif %}{% endmacro %}{{ f(50) }}`,
    ],
  ])("stops %s", (_, source) => {
    const started = performance.now();
    const before = process.memoryUsage().heapUsed;
    expect(() => render(source)).toThrowError(failed);
    expect(performance.now() - started).toBeLessThan(5000);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(400e6);
  });

  it("lets pass what costs little", () => {
    expect(render("{{ 'a'|replace(*['a', 'b']) }}")).toBe("b");
    expect(render(often(`{% macro f() %}${"{{ 1 }}".repeat(10_000)}{% endmacro %}`))).toBe("");
    expect(render(`{{ 1 }}${" ".repeat(100_000)}{{ 2 }}`).length).toBe(100_002);
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
