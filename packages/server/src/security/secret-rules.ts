/** The rules of the content filter that a server can have without a file: what nobody means to tell a model, or to hear from one. */
import { parseFilterRules } from "./filter-rules.ts";

/** The forms that services give their keys. */
const keyForms = [
  "sk-[\\w-]{20,100}",
  "gh[pousr]_\\w{36,100}",
  "github_pat_\\w{22,100}",
  "glpat-[\\w-]{20,40}",
  "hf_\\w{30,60}",
  "npm_\\w{36}",
  "AKIA[0-9A-Z]{16}",
  "AIza[\\w-]{35}",
  "xox[abprs]-[\\w-]{10,80}",
  "bnk_[\\w-]{20,80}",
];

export const secretRules = parseFilterRules(
  {
    rules: [
      {
        name: "service-key",
        pattern: `\\b(?:${keyForms.join("|")})`,
        severity: "redact",
        ignoreCase: false,
        replacement: "[key]",
      },
      {
        name: "private-key",
        pattern: "-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
        severity: "block",
      },
      {
        name: "card-number",
        pattern: "\\b(?:4\\d{3}|5[1-5]\\d{2}|6011)[ -]?\\d{4}[ -]?\\d{4}[ -]?\\d{4}\\b",
        severity: "redact",
        replacement: "[card]",
      },
    ],
  },
  "the usual rules",
);
