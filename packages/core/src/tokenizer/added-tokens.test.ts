import { describe, expect, it } from "vitest";
import { type AddedToken, checkAddedTokens, createMatcher, splitAtTokens } from "./added-tokens.ts";

const plain = { special: false, lstrip: false, rstrip: false, singleWord: false, normalized: false };
const token = (content: string, flags: Partial<AddedToken> = {}): AddedToken => ({
  id: 0,
  content,
  ...plain,
  ...flags,
});

/** Matches in brackets, text between as it is. */
function split(text: string, ...tokens: AddedToken[]): string {
  const bytes = new TextEncoder().encode(text);
  let shown = "";
  splitAtTokens(createMatcher(tokens), bytes, 0, bytes.length, {
    text(start, end) {
      shown += new TextDecoder().decode(bytes.subarray(start, end));
    },
    token({ content }) {
      shown += `[${content}]`;
    },
  });
  return shown;
}

// The expected answers are those of the Hugging Face tokenizers library.
describe("added tokens", () => {
  it("take the leftmost match, then the longest", () => {
    expect(split("abcd", token("bc"), token("ab"), token("abc"))).toBe("[abc]d");
    expect(split("aab", token("ab"), token("a"))).toBe("[a][ab]");
    expect(split("xabx", token("abc"), token("b"))).toBe("xa[b]x");
    expect(split("", token("a"))).toBe("");
    expect(split("日本語", token("本"), token("語x"))).toBe("日[本]語");
  });

  it("strip white space on request", () => {
    expect(split("a \n<x>\t\u3000b", token("<x>", { lstrip: true, rstrip: true }))).toBe("a[<x>]b");
    expect(split("a <x> b", token("<x>", { lstrip: true }))).toBe("a[<x>] b");
    expect(split("a <x> b", token("<x>", { rstrip: true }))).toBe("a [<x>]b");
    expect(split(" <x> <x> ", token("<x>", { lstrip: true, rstrip: true }))).toBe("[<x>][<x>]");
  });

  it("respect word borders on request", () => {
    const word = token("cat", { singleWord: true });
    expect(split("cat concat cats (cat) écat cat_ cat", word)).toBe(
      "[cat] concat cats ([cat]) écat cat_ [cat]",
    );
  });

  it("are refused when empty, too long or too many", () => {
    const refused = expect.objectContaining({ code: "TOKENIZER_INVALID" });
    expect(() => checkAddedTokens([token("")], "f")).toThrowError(refused);
    expect(() => checkAddedTokens([token("x".repeat(171))], "f")).toThrowError(refused);
    expect(() => checkAddedTokens(new Array(65_537).fill(token("x")), "f")).toThrowError(refused);
    expect(() => checkAddedTokens(new Array(10_000).fill(token("x".repeat(170))), "f")).toThrowError(refused);
    checkAddedTokens([token("x".repeat(170))], "f");
  });
});
