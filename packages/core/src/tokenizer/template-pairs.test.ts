/** Templates against what Jinja2 3.1 renders with the options of the transformers library; see test/golden/templates/make_pairs.py. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ChatMessage } from "./chat-messages.ts";
import { compileChatTemplate } from "./chat-template.ts";

type Answer = { text: string } | { error: string };
interface Variables {
  messages: ChatMessage[];
  add_generation_prompt: boolean;
  bos_token: string;
  eos_token: string;
  tools: unknown[] | null;
  enable_thinking?: boolean;
}
interface Pairs {
  now: string;
  variables: Record<string, unknown> & { messages: ChatMessage[] };
  models: Record<string, { source: string; cases: (Answer & { variables: Variables })[] }>;
  expressions: (Answer & { source: string })[];
}
const path = new URL("../../../../test/golden/templates/pairs.json", import.meta.url);
const pairs: Pairs = JSON.parse(readFileSync(path, "utf8"));
const now = new Date(pairs.now);

/** What a rendering gives, or that it fails: with our error, whatever theirs is called. */
function answer(render: () => string): string {
  try {
    return render();
  } catch (error) {
    expect(error).toMatchObject({ code: expect.stringMatching(/^(TEMPLATE_FAILED|INVALID_ARGUMENT)$/) });
    return "an error";
  }
}
const expected = (theirs: Answer) => ("text" in theirs ? theirs.text : "an error");

describe.each(Object.entries(pairs.models))("the template %s", (name, { source, cases }) => {
  it("renders what Jinja2 renders", () => {
    const template = compileChatTemplate(source, name);
    expect(cases.filter((theirs) => "text" in theirs).length).toBeGreaterThan(cases.length / 4);
    for (const theirs of cases) {
      const { messages, add_generation_prompt, bos_token, eos_token, tools, ...rest } = theirs.variables;
      const hasParts = messages.some(({ content }) => Array.isArray(content));
      const isRefused =
        messages.some(({ role }) => role === "tool") && !/["']tool["']|message\[.role.\] \+/.test(source);
      // Parts are joined for templates that do not know them, and roles that a template would drop silently are refused.
      if ((hasParts && name !== "gemma3.jinja") || isRefused) continue;
      const ours = answer(() =>
        template.render({
          messages,
          addGenerationPrompt: add_generation_prompt,
          bosToken: bos_token,
          eosToken: eos_token,
          tools: tools ?? undefined,
          arguments: rest,
          now,
        }),
      );
      expect(ours, JSON.stringify(theirs.variables)).toBe(expected(theirs));
    }
  });
});

describe("templates", () => {
  const { messages, ...rest } = pairs.variables;
  it.each(pairs.expressions)("render $source as Jinja2 does", (theirs) => {
    const ours = answer(() =>
      compileChatTemplate(theirs.source, "test").render({
        messages,
        addGenerationPrompt: false,
        bosToken: "",
        eosToken: "",
        arguments: rest,
        now,
      }),
    );
    expect(ours).toBe(expected(theirs));
  });
});
