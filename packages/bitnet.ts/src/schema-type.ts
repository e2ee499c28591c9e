/** The type of the values that a JSON Schema describes, as far as TypeScript can tell; `unknown` for the rest. */

/** A JSON Schema: what `generate` accepts is checked when it is called. */
export type JsonSchema = Readonly<Record<string, unknown>>;

type Simple = {
  string: string;
  number: number;
  integer: number;
  boolean: boolean;
  null: null;
};

type Properties = Readonly<Record<string, unknown>>;

/** @example type City = FromSchema<{ type: "object"; properties: { name: { type: "string" } }; required: ["name"] }>; */
export type FromSchema<S> = S extends { const: infer C }
  ? C
  : S extends { enum: readonly (infer E)[] }
    ? E
    : S extends { anyOf: readonly (infer A)[] }
      ? FromSchema<A>
      : S extends { oneOf: readonly (infer A)[] }
        ? FromSchema<A>
        : S extends { type: infer T }
          ? FromType<T, S>
          : unknown;

type FromType<T, S> = T extends readonly (infer Each)[]
  ? FromType<Each, S>
  : T extends keyof Simple
    ? Simple[T]
    : T extends "array"
      ? FromArray<S>
      : T extends "object"
        ? FromObject<S>
        : unknown;

type FromArray<S> = S extends { prefixItems: infer P extends readonly unknown[] }
  ? { -readonly [K in keyof P]: FromSchema<P[K]> }
  : S extends { items: infer I }
    ? FromSchema<I>[]
    : unknown[];

type FromObject<S> = S extends { properties: infer P extends Properties }
  ? Plain<
      { -readonly [K in keyof P as K extends Required<S> ? K : never]: FromSchema<P[K]> } & {
        -readonly [K in keyof P as K extends Required<S> ? never : K]?: FromSchema<P[K]>;
      }
    >
  : Record<string, unknown>;

type Required<S> = S extends { required: readonly (infer R)[] } ? R : never;
type Plain<T> = { [K in keyof T]: T[K] };
