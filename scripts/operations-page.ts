/** Renders docs/operations.md: the table of operations for readers. */
import { type Field, type OperationTable, operations, rangeText, type Size } from "@bitnet.ts/core";

const classes = {
  f32: "f32",
  q8: "q8",
  ternary: "ternary weight",
  dense: "dense weight",
  kv: "KV cache",
} as const;

export function renderOperationsPage(): string {
  const table: OperationTable = operations;
  return [
    "# Operations",
    "",
    "Generated from `packages/core/src/backend/operations.ts` by `scripts/operations-page.ts`; do not edit. What each operation computes to the bit is",
    "in [numerics.md](numerics.md). Activations have one row a token; a size is a product of names, and a name stands for one number within an operation.",
    "",
    ...Object.entries(table).flatMap(([name, { does, fields, runs, distinct = [], multiples = [] }]) => [
      `## ${name}`,
      "",
      `${does}${/[.!?]$/.test(does) ? "" : "."} Runs ${runs === "rows" ? "row by row" : "over all rows together"}.`,
      "",
      "| field | role | is |",
      "|---|---|---|",
      ...Object.entries(fields).map(
        ([field, spec]) => `| \`${field}\` | ${spec.role} | ${describeField(spec)} |`,
      ),
      "",
      ...distinct.flatMap((names) => [`${names.join(", ")} are different buffers.`, ""]),
      ...multiples.flatMap(([size, of]) => [`${sizeText(size)} is a multiple of ${sizeText(of)}.`, ""]),
    ]),
  ]
    .join("\n")
    .trimEnd()
    .concat("\n");
}

function describeField(field: Field): string {
  if (field.role !== "attribute") {
    const shape = [field.rows, field.cols].filter((size) => size !== undefined).map(sizeText);
    const type = field.types ? `, ${field.types.join(" or ")}` : "";
    return `${field.list ? "list of " : ""}${classes[field.takes]}${shape.length > 0 ? ` [${shape.join(", ")}]` : ""}${type}`;
  }
  switch (field.type) {
    case "integer":
      return `integer, ${field.least} … ${field.most}`;
    case "real":
      return `f32 in ${rangeText(field)}`;
    case "choice":
      return field.of.map((choice) => `\`${choice}\``).join(", ");
  }
}

function sizeText(size: Size): string {
  return size.length === 0 ? "1" : size.join(" · ");
}
