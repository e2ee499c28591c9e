/** Which program a reply holds: what scored chat models wrongly elsewhere. */
import { describe, expect, it } from "vitest";
import { askForProgram, programIn } from "./chat-program.ts";
import { findSandbox } from "./python.ts";

const sandbox = await findSandbox({ needsNamespaces: false });
const fence = "```";
const double = "def double(x):\n    return 2 * x";

it("is asked for with the signature in a fence", () => {
  expect(askForProgram('def f(x):\n    """Twice.\n    """\n')).toBe(
    `Please provide a self-contained Python script that solves the following problem in a markdown code block:\n${fence}python\ndef f(x):\n    """Twice.\n    """\n${fence}`,
  );
});

describe.skipIf(typeof sandbox === "string")("the program of a reply", () => {
  it.each([
    ["in a fence", `Here:\n${fence}python\n${double}\n${fence}\nDone.`, double],
    ["in a fence that does not end", `${fence}python\n${double}\n`, double],
    ["without a fence, between words", `Sure, here it is:\n\n${double}\n\nThat's all, it's easy!`, double],
    ["with words in its fence", `${fence}\n${double}\nThat is all!\n${fence}`, double],
    [
      "of several fences the one that defines the function",
      `${fence}python\nx = double(2)\ny = 3\nz = 4\n${fence}\n${fence}python\n${double}\n${fence}`,
      double,
    ],
    [
      "without its uses and tests",
      `${fence}python\n${double}\nassert double(1) == 3\nprint(input())\n${fence}`,
      double,
    ],
    [
      "with imports and what it calls, and nothing else",
      `${fence}python\nimport math\nTWO = 2\ndef other(): pass\ndef help(x):\n    return TWO * x\n@math.cache\ndef double(x):\n    return help(x)\n${fence}`,
      "import math\nTWO = 2\ndef help(x):\n    return TWO * x\n@math.cache\ndef double(x):\n    return help(x)",
    ],
    ["with Windows' line ends", `${fence}python\r\n${double.replaceAll("\n", "\r\n")}\r\n${fence}`, double],
  ])("%s", async (_, reply, expected) => {
    if (typeof sandbox === "string") throw new Error(sandbox);
    expect((await programIn(reply, "double", sandbox)).trimEnd()).toBe(expected);
  });

  it.each(["I would not know.", "", `${fence}python\n${fence}`, `def double(x:\n  return`, "\0"])(
    "is none in %j",
    async (reply) => {
      if (typeof sandbox === "string") throw new Error(sandbox);
      expect((await programIn(reply, "double", sandbox)).trim()).toBe("");
    },
  );
});
