/** The file of the content filter: a list of rules, each a pattern (RE2: linear time, no lookaround) and what a match means. */
import { readFile } from "node:fs/promises";
import { BitNetError } from "@bitnet.ts/core";
import { RE2JS } from "re2js";
import { isObject } from "../fields.ts";
import { longestMatch } from "./pattern-length.ts";

/** block: no answer; redact: the match is replaced; flag: it is counted and logged. */
type Severity = "block" | "flag" | "redact";

export interface FilterRule {
  /** Shown in the audit log and the counters, not to clients. */
  readonly name: string;
  readonly pattern: RE2JS;
  readonly severity: Severity;
  readonly onInput: boolean;
  readonly onOutput: boolean;
  readonly replacement: string;
  /** UTF-16 units; Infinity: such an answer is held back whole. */
  readonly longest: number;
}

const maxRules = 1000;
const severities: readonly unknown[] = ["block", "flag", "redact"];
const places: readonly unknown[] = ["input", "output", "both"];
const known: ReadonlySet<string> = new Set("name pattern severity on ignoreCase replacement".split(" "));

/** @throws BitNetError FILE_NOT_FOUND, FORMAT_INVALID with the rule at fault. */
export async function readFilterRules(file: string): Promise<readonly FilterRule[]> {
  return parseFilterRules(await readJsonFile(file, "the rules of the content filter"), file);
}

/** @param what For messages. @throws BitNetError FILE_NOT_FOUND, FORMAT_INVALID. */
export async function readJsonFile(file: string, what: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    throw new BitNetError("FILE_NOT_FOUND", `${file}: ${what} cannot be read`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BitNetError("FORMAT_INVALID", `${file}: ${what} are not JSON`, { cause });
  }
}

/** @param value `{ "rules": [{ "name", "pattern", "severity", "on", "ignoreCase", "replacement" }] }` */
export function parseFilterRules(value: unknown, file: string): readonly FilterRule[] {
  const fail = (where: string, problem: string): never => {
    throw new BitNetError("FORMAT_INVALID", `${file}: ${where}: ${problem}`);
  };
  const list = isObject(value) ? value.rules : undefined;
  if (!Array.isArray(list)) return fail("rules", "expected a list of rules");
  if (list.length > maxRules) fail("rules", `at most ${maxRules} are supported, found ${list.length}`);
  const names = new Set<string>();
  return list.map((each: unknown, index) => {
    const where = `rules[${index}]`;
    if (!isObject(each)) return fail(where, "expected an object");
    const {
      name,
      pattern,
      severity = "block",
      on = "both",
      ignoreCase = true,
      replacement = "[redacted]",
    } = each;
    const unknownKey = Object.keys(each).find((key) => !known.has(key));
    if (unknownKey !== undefined) fail(where, `${JSON.stringify(unknownKey.slice(0, 60))} is not known`);
    if (typeof name !== "string" || !/^[\w.-]{1,64}$/.test(name) || names.has(name))
      return fail(
        `${where}.name`,
        'expected a name of letters, digits, "_", "-" and "." that no other rule has',
      );
    names.add(name);
    if (typeof pattern !== "string" || pattern === "") return fail(`${where}.pattern`, "expected a pattern");
    if (!severities.includes(severity)) fail(`${where}.severity`, "expected block, flag or redact");
    if (!places.includes(on)) fail(`${where}.on`, "expected input, output or both");
    if (typeof ignoreCase !== "boolean") return fail(`${where}.ignoreCase`, "expected true or false");
    if (typeof replacement !== "string") return fail(`${where}.replacement`, "expected a text");
    const compiled = compilePattern(pattern, ignoreCase);
    if (typeof compiled === "string") return fail(`${where}.pattern`, compiled);
    return {
      name,
      pattern: compiled,
      severity: severity as Severity,
      onInput: on !== "output",
      onOutput: on !== "input",
      replacement,
      longest: longestMatch(pattern),
    };
  });
}

/** A text is the reason why it cannot be used. */
export function compilePattern(pattern: string, ignoreCase: boolean): RE2JS | string {
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(pattern, ignoreCase ? RE2JS.CASE_INSENSITIVE : 0);
  } catch (error) {
    return error instanceof Error ? error.message : "it cannot be compiled";
  }
  return compiled.matcher("").find() ? "it matches the empty text, and so everywhere" : compiled;
}
