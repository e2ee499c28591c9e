import { describe, expect, it } from "vitest";
import type { ChatMessage } from "./chat-messages.ts";
import { render } from "./chat-template.test.kit.ts";

const wrong = (message: RegExp) =>
  expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message) });
const printing = "{% for m in messages %}{{ m.role ~ ':' ~ m.content ~ ';' }}{% endfor %}";

describe("roles", () => {
  it("are those that every template meets, and those it names", () => {
    const naming = "{% for m in messages %}{% if m.role == 'critic' %}{{ m.content }}{% endif %}{% endfor %}";
    const critic = [{ role: "critic", content: "x" }];
    expect(render(naming, { messages: critic })).toBe("x");
    expect(() => render(printing, { messages: critic })).toThrowError(
      wrong(/role that this model's template knows/),
    );
  });

  it("may be a tool's where the template prints or names it, and nowhere else", () => {
    const messages = [{ role: "tool", content: "7" }];
    expect(render(printing, { messages })).toBe("tool:7;");
    const silent =
      "{% for m in messages %}{% if m['role'] == 'user' %}{{ m.content }}{% endif %}{% endfor %}";
    expect(() => render(silent, { messages })).toThrowError(wrong(/found "tool"/));
  });
});

describe("contents", () => {
  const parts: ChatMessage[] = [
    {
      role: "user",
      content: [
        { type: "text", text: "a" },
        { type: "text", text: "b" },
      ],
    },
  ];

  it("in parts reach a template that goes over them, and are joined for others", () => {
    expect(render("{% for p in messages[0].content %}[{{ p.text }}]{% endfor %}", { messages: parts })).toBe(
      "[a][b]",
    );
    expect(render("{{ messages[0].content }}", { messages: parts })).toBe("a\nb");
  });

  it("may be missing beside calls alone", () => {
    const call = { function: { name: "f", arguments: '{"x": 1}' } };
    expect(render(printing, { messages: [{ role: "assistant", content: null, tool_calls: [call] }] })).toBe(
      "assistant:;",
    );
    expect(() => render("", { messages: [{ role: "assistant", content: null }] })).toThrowError(
      wrong(/content/),
    );
  });

  it("that are no text are refused with their type", () => {
    const image = { role: "user", content: [{ type: "image_url" }] } as unknown as ChatMessage;
    expect(() => render("", { messages: [image] })).toThrowError(wrong(/content\[0\].*"image_url"/));
  });
});

describe("calls", () => {
  const source = "{{ messages[0].tool_calls[0].function.arguments | tojson }}";
  const called = (value: string | Record<string, unknown>) =>
    render(source, {
      messages: [{ role: "assistant", tool_calls: [{ function: { name: "f", arguments: value } }] }],
    });

  it("have their arguments as an object, however they came", () => {
    expect(called('{"x": [1]}')).toBe('{"x": [1]}');
    expect(called({ x: [1] })).toBe('{"x": [1]}');
    expect(called("no JSON")).toBe('"no JSON"');
  });

  it("need a name", () => {
    const messages = [{ role: "assistant", tool_calls: [{ function: {} }] }] as unknown as ChatMessage[];
    expect(() => render("", { messages })).toThrowError(wrong(/tool_calls\[0\].function.name/));
  });
});

describe("arguments of templates", () => {
  it("become variables", () => {
    expect(render("{{ style }}{{ enable_thinking is defined }}", { arguments: { style: "s" } })).toMatch(
      /^s[Ff]alse$/,
    );
  });

  it.each(["messages", "tools", "raise_exception", "chat_template", "a-b", ""])(
    "may not be named %j",
    (name) => {
      expect(() => render("", { arguments: { [name]: 1 } })).toThrowError(wrong(/cannot be an argument/));
    },
  );
});
