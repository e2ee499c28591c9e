import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BitNetError } from "../base/errors.ts";
import { failed, render } from "./chat-template.test.kit.ts";
import { compileChatTemplate } from "./chat-template.ts";

describe("chat templates", () => {
  it("see what Hugging Face's renderer gives them", () => {
    expect(render("{{ bos_token }}{{ messages[0].role }}{{ messages[0]['content'] }}{{ eos_token }}")).toBe(
      "<s>userHi</s>",
    );
    expect(render("{{ add_generation_prompt }} {{ True }} {{ none is none }}")).toBe("True True True");
    expect(render("{% if tools %}x{% endif %}{{ tools is none }}")).toBe("True");
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
      "{{ 'a' in 'cat' and not 'x' in ['y'] }}": "True",
      "{{ 'k' in {'k': 1} }}": "True",
      "{{ [3, 1, 2]|sort|join('-') }}": "1-2-3",
      "{{ 'a.b'.split('.')|last }}": "b",
      "{{ ' x '|trim|upper }}": "X",
      "{{ 'aXbX'|replace('X', '--') }}": "a--b--",
      "{{ 'aXbX'.replace('X', '', 1) }}": "abX",
      "{% set f = 'aXb'.replace %}{{ f('X', '') }}": "ab",
      "{{ 'a\\nb'|indent(2) }}": "a\n  b",
      "{{ 'a\\nb'|indent(width=2, first=true) }}": "  a\n  b",
      "{{ {'a': [1]}|tojson(indent=2) }}": '{\n  "a": [\n    1\n  ]\n}',
      "{{ [{'n': 'a'}, {'n': 'b'}]|selectattr('n', 'equalto', 'b')|map(attribute='n')|list }}": "['b']",
      "{{ {'b': 1, 'a': 2}|dictsort }}": "[('a', 2), ('b', 1)]",
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
      "{{ 'abc' is string }}{{ 'abc' is lower }}{{ [1]|first is odd }}": "TrueTrueTrue",
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
    // Told when the model is opened, not by the first conversation that gets there.
    ["an unknown filter where nobody goes", "{% if false %}{{ 'a' | nosuchfilter }}{% endif %}"],
    ["an unknown test where nobody goes", "{% if false and 'a' is nosuchtest %}{% endif %}"],
    ["nonsense", "{{ a b }}"],
    ["parentheses", `{{ ${"(".repeat(60_000)}1${")".repeat(60_000)} }}`],
    ["open parentheses", `{{ ${"(".repeat(100_000)}`],
    ["lists", `{{ ${"[".repeat(60_000)}${"]".repeat(60_000)} }}`],
    ["negations", `{{ ${"not ".repeat(30_000)}1 }}`],
    ["conditions", `${"{% if a %}".repeat(5000)}${"{% endif %}".repeat(5000)}`],
    ["a long sum", `{{ 1${" + 1".repeat(20_000)} }}`],
    ["a huge text", "x".repeat(10_000_000)],
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
