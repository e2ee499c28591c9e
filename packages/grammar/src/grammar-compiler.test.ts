/** Who waits for a grammar, and whose it is. */
import { fileURLToPath } from "node:url";
import { describeModel, openModelFiles, readTokenizer, type Tokenizer } from "@bitnet.ts/core";
import { openPath } from "@bitnet.ts/core/node";
import { beforeAll, expect, test, vi } from "vitest";
import { GrammarCompiler } from "./grammar-compiler.ts";
import type { GrammarSpec } from "./grammar-spec.ts";
import { GrammarThread } from "./grammar-thread.ts";

let tokenizer: Tokenizer;
beforeAll(async () => {
  const path = fileURLToPath(new URL("../../../models/tiny.gguf", import.meta.url));
  const files = await openModelFiles(await openPath(path));
  tokenizer = readTokenizer(files, describeModel(files, path).config);
  await files.close();
});

test("what nobody waits for any more is not begun, and those of another salt are compiled anew", async () => {
  const begun = vi.spyOn(GrammarThread.prototype, "compile");
  const one = new GrammarCompiler(tokenizer, { maxThreads: 1 });
  try {
    const choice = (text: string): GrammarSpec => ({ kind: "choice", choices: [text] });
    const first = one.compile(choice("first"));
    const leave = new AbortController();
    const left = one.compile(choice("left"), { signal: leave.signal });
    const shared = one.compile(choice("shared"), { signal: leave.signal });
    const stays = one.compile(choice("shared"));
    leave.abort();
    await expect(left).rejects.toMatchObject({ code: "ABORTED" });
    await expect(shared).rejects.toMatchObject({ code: "ABORTED" });
    await Promise.all([first, stays]);
    const said = () => begun.mock.calls.map(([, spec]) => (spec.kind === "choice" ? spec.choices[0] : ""));
    expect(said()).toEqual(["first", "shared"]);
    await one.compile(choice("first"));
    expect(said().length).toBe(2);
    await one.compile(choice("first"), { salt: "another tenant" });
    await one.compile(choice("first"), { salt: "another tenant" });
    expect(said()).toEqual(["first", "shared", "first"]);
    await expect(one.compile(choice("x"), { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "ABORTED",
    });
  } finally {
    begun.mockRestore();
    await one.dispose();
  }
});
