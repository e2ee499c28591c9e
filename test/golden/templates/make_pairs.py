"""Renders templates with Jinja2 3.1 as Hugging Face's transformers library does, for the tests to compare with.

    apt-get install python3-jinja2
    /usr/bin/python3 make_pairs.py

The templates of models are written from what is published about their formats; the expressions are our own. Nothing here is needed to run the tests.
"""
import json
import os
from datetime import datetime, timezone

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

here = os.path.dirname(os.path.abspath(__file__))
now = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.utc)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: now.strftime(form)
    return env


def render(source, variables):
    try:
        return {"text": environment().from_string(source).render(**variables)}
    except Exception as error:  # whatever it is, ours must fail, too
        return {"error": type(error).__name__}


call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2}}}
tools = [{"type": "function", "function": {"name": "weather", "description": "Tells the weather.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]
user = {"role": "user", "content": "  Hello \n"}
conversations = {
    "one": [user],
    "system": [{"role": "system", "content": " Be brief. "}, user],
    "turns": [user, {"role": "assistant", "content": "Hi!\n"}, {"role": "user", "content": "Bye <b>&\"'"}],
    "thought": [user, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nHi!"}, {"role": "user", "content": "And?"}],
    "reasoned": [user, {"role": "assistant", "content": "Hi!", "reasoning_content": "\nHm.\n"}],
    "order": [{"role": "assistant", "content": "I first"}, user],
    "tools": [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": "rain", "name": "weather", "tool_call_id": "c1"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": " a "}, {"type": "text", "text": "b"}]}],
    "empty": [],
}

models = {}
for file in sorted(os.listdir(os.path.join(here, "models"))):
    with open(os.path.join(here, "models", file), encoding="utf-8") as handle:
        source = handle.read()
    cases = []
    for name, messages in conversations.items():
        for prompt in (False, True):
            for extra in ({}, {"tools": tools}, {"enable_thinking": False}):
                variables = {"messages": messages, "add_generation_prompt": prompt, "bos_token": "<bos>", "eos_token": "<eos>", "tools": None, **extra}
                cases.append({"variables": variables, **render(source, variables)})
    models[file] = {"source": source, "cases": cases}

variables = {
    "messages": conversations["turns"],
    "numbers": [3, 1, 2, 10],
    "words": ["pear", "Apple", "fig", "apple"],
    "people": [{"name": "Bo", "age": 3, "tag": None}, {"name": "al", "age": 40}, {"name": "Cy", "age": 3, "tag": {"x": 1}}],
    "data": {"b": 1, "a": [1, 2.5, None, True, "it's \"q\" \n ü"], "c": {}},
    "text": "  The quick-brown fox's <b>den</b> & 'lair'\n\tnext  line  ",
    "empty": "",
    "nothing": None,
    "small": 0.00001234,
    "unicode": "ñ 漢字 🙂 e\u0301 \u00a0 \x07",
}
with open(os.path.join(here, "expressions.txt"), encoding="utf-8") as handle:
    sources = [json.loads(line) for line in handle.read().split("\n") if line]
expressions = [{"source": source, **render(source, variables)} for source in sources]

with open(os.path.join(here, "pairs.json"), "w", encoding="utf-8") as handle:
    json.dump({"now": now.isoformat(), "variables": variables, "models": models, "expressions": expressions}, handle, ensure_ascii=False, indent=0, sort_keys=False)
    handle.write("\n")
