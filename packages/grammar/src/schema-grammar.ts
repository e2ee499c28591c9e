import type * as XGrammar from "@mlc-ai/web-xgrammar";

/**
 * Compact: at most one character of white space between the parts of a value, else models write spaces until their tokens are spent. The
 * compiler keeps to that except within values of any type, where its notation says "[ \\n\\t]*".
 */
export async function schemaGrammar(
  { Grammar }: typeof XGrammar,
  schema: unknown,
  isStrict = true,
): Promise<string> {
  const grammar = await Grammar.fromJSONSchema(JSON.stringify(schema), true, -1, undefined, isStrict, 1);
  const text = grammar.toString().replaceAll("[ \\n\\t]*", "[ ]?");
  grammar.dispose();
  return text;
}
