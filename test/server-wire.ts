/** Checks answers of the server against the published schemas in test/wire. */
import { readFileSync } from "node:fs";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";

type SchemaFile = "openai" | "openai-responses" | "ollama" | "anthropic";

const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
const loaded = new Set<SchemaFile>();

function schema(file: SchemaFile, name: string): ValidateFunction {
  if (!loaded.has(file)) {
    const text = readFileSync(new URL(`wire/${file}.json`, import.meta.url), "utf8");
    ajv.addSchema(JSON.parse(text) as object);
    loaded.add(file);
  }
  const found = ajv.getSchema(`wire/${file}.json#/$defs/${name}`);
  if (found === undefined) throw new Error(`no schema ${name} in ${file}`);
  return found;
}

/** @throws Error that says where the value differs from its schema. */
export function checkWire(file: SchemaFile, name: string, value: unknown): void {
  const validate = schema(file, name);
  if (validate(value) === true) return;
  const problems = (validate.errors ?? []).slice(0, 5).map((e) => `${e.instancePath} ${e.message}`);
  throw new Error(`${name}: ${problems.join("; ")}\n${JSON.stringify(value).slice(0, 1000)}`);
}
