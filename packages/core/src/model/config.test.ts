/** Every field of both kinds of configuration. Both in one long file, so that a rule for one is not forgotten for the other. */
import { describe, expect, it } from "vitest";
import { BitNetError } from "../base/errors.ts";
import { parseGgufConfig, parseHfConfig } from "./config.ts";
import { familyOf, knownArchitectures } from "./families.ts";
import type { ModelConfig } from "./model-config.ts";

/** What an invalid configuration is refused with. */
function failure(parse: () => ModelConfig): BitNetError {
  try {
    parse();
  } catch (error) {
    if (error instanceof BitNetError) return error;
    throw error;
  }
  throw new Error("expected a BitNetError");
}

function problemsOf(parse: () => ModelConfig): string[] {
  const { code, message, details } = failure(parse);
  expect(code).toBe("MODEL_INVALID");
  const problems = details.problems as string[];
  for (const problem of problems) expect(message).toContain(problem);
  return problems;
}

type Changes = Record<string, unknown>;

/** `undefined` removes a field. */
function changed(fields: Changes, changes: Changes): Changes {
  return Object.fromEntries(
    Object.entries({ ...fields, ...changes }).filter(([, value]) => value !== undefined),
  );
}

const ggufFields: Changes = {
  "general.architecture": "bitnet-b1.58",
  "general.name": "some model",
  "bitnet-b1.58.context_length": 4096,
  "bitnet-b1.58.embedding_length": 2560,
  "bitnet-b1.58.block_count": 30,
  "bitnet-b1.58.feed_forward_length": 6912,
  "bitnet-b1.58.attention.head_count": 20,
  "bitnet-b1.58.attention.head_count_kv": 5,
  "bitnet-b1.58.attention.layer_norm_rms_epsilon": 1e-5,
  "bitnet-b1.58.rope.dimension_count": 128,
  "bitnet-b1.58.rope.freq_base": 500000,
};
const gguf = (changes: Changes = {}, rows: number | undefined = 128256) =>
  parseGgufConfig(new Map(Object.entries(changed(ggufFields, changes))), "m.gguf", rows);
const key = (name: string) => `bitnet-b1.58.${name}`;

const parsed: ModelConfig = {
  architecture: "bitnet-b1.58",
  name: "some model",
  hiddenSize: 2560,
  ffnSize: 6912,
  nLayers: 30,
  nHeads: 20,
  nKvHeads: 5,
  headDim: 128,
  contextLength: 4096,
  vocabSize: 128256,
  normEps: 1e-5,
  ropeTheta: 500000,
  ropeScaling: null,
  pairing: "half",
  activation: "relu2",
  isTied: null,
  hasHead: true,
  weightScale: "multiplies",
  floatsAreMasters: true,
  masters: "ternary",
  attentionScale: Math.fround(1 / Math.sqrt(128)),
  slidingWindow: null,
  activationGroup: null,
  embeddingScale: 1,
  residualScale: 1,
  headScale: 1,
  normShift: 0,
  hasInnerNorms: null,
  innerNormEps: 1e-5,
};

describe("GGUF", () => {
  it("is parsed and frozen", () => {
    expect(gguf()).toEqual(parsed);
    expect(Object.isFrozen(gguf())).toBe(true);
  });

  it("may name any or no type of file, which decides nothing", () => {
    for (const type of [9999, -1, "all F32", undefined])
      expect(gguf({ "general.file_type": type })).toEqual(parsed);
  });

  it("of the older architecture has its keys under that name", () => {
    const fields = Object.entries(ggufFields).map(
      ([name, value]) => [name.replace("bitnet-b1.58.", "bitnet-25."), value] as const,
    );
    const older = new Map([...fields, ["general.architecture", "bitnet-25"]]);
    expect(parseGgufConfig(older, "m.gguf", 128256)).toEqual(parsed);
  });

  it("takes integers of any width", () => {
    expect(gguf({ [key("block_count")]: 7n, [key("context_length")]: 2n ** 20n })).toMatchObject({
      nLayers: 7,
      contextLength: 2 ** 20,
    });
  });

  it("takes lists for each layer whose numbers are all the same, and says which are not", () => {
    const lists = {
      [key("attention.head_count")]: new Int32Array(30).fill(20),
      [key("attention.head_count_kv")]: new BigUint64Array(30).fill(5n),
      [key("feed_forward_length")]: new Uint32Array(30).fill(6912),
    };
    expect(gguf(lists)).toEqual(parsed);
    const uneven = { [key("attention.head_count_kv")]: Int32Array.from([5, 4]) };
    expect(problemsOf(() => gguf(uneven))).toEqual([
      `${key("attention.head_count_kv")} is an array, expected an integer from 1 to 4096`,
    ]);
  });

  it("does without what it can know otherwise", () => {
    const sparse = gguf({
      "general.name": undefined,
      [key("attention.head_count_kv")]: undefined,
      [key("rope.dimension_count")]: undefined,
      [key("rope.freq_base")]: undefined,
    });
    expect(sparse).toEqual({ ...parsed, name: "m.gguf", nKvHeads: 20, ropeTheta: 10000 });
    expect(gguf({ "general.name": 5 }).name).toBe("m.gguf");
  });

  it("may have heads that do not make up the hidden size", () => {
    const heads = { [key("attention.key_length")]: 48, [key("rope.dimension_count")]: 48 };
    expect(gguf(heads).headDim).toBe(48);
  });

  const required = [
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "context_length",
    "attention.layer_norm_rms_epsilon",
  ];

  it.each(required)("without %s lists just that", (name) => {
    expect(problemsOf(() => gguf({ [key(name)]: undefined }))).toEqual([`${key(name)} is missing`]);
  });

  it("lists everything that is missing at once", () => {
    const none = Object.fromEntries(required.map((name) => [key(name), undefined]));
    const all = problemsOf(() =>
      parseGgufConfig(new Map(Object.entries(changed(ggufFields, none))), "m.gguf", undefined),
    );
    expect(all).toHaveLength(required.length + 1);
    expect(all).toContain('tensor "token_embd.weight" is missing');
  });

  const counts: [string, number][] = [
    ["embedding_length", 2 ** 20],
    ["block_count", 4096],
    ["feed_forward_length", 2 ** 21],
    ["attention.head_count", 4096],
    ["attention.head_count_kv", 4096],
    ["attention.key_length", 4096],
    ["rope.dimension_count", 4096],
    ["context_length", 2 ** 20],
  ];
  const wrongCounts = (limit: number): [unknown, string][] => [
    [0, "0"],
    [-1, "-1"],
    [1.5, "1.5"],
    [limit + 1, String(limit + 1)],
    [2n ** 64n - 1n, "18446744073709551615"],
    [Number.NaN, "NaN"],
    [Number.POSITIVE_INFINITY, "Infinity"],
    ["12", '"12"'],
    [true, "true"],
    [new Int32Array(3), "an array"],
    [{ bytes: new Uint8Array(), offsets: new Uint32Array(1), count: 0 }, "an object"],
  ];

  it.each(counts)("%s must be an integer from 1 to %i", (name, limit) => {
    for (const [value, shown] of wrongCounts(limit))
      expect(problemsOf(() => gguf({ [key(name)]: value }))).toContain(
        `${key(name)} is ${shown}, expected an integer from 1 to ${limit}`,
      );
  });

  it.each([
    ["attention.layer_norm_rms_epsilon", [0, 1, -1e-5, Number.NaN, "1e-5", 5n], "a number between 0 and 1"],
    ["rope.freq_base", [1, 0, 1e12, Number.NEGATIVE_INFINITY, false, 0n], "a number between 1 and 10^12"],
  ] as const)("%s must be in its range", (name, values, range) => {
    for (const value of values) {
      const [problem, another] = problemsOf(() => gguf({ [key(name)]: value }));
      expect(problem).toMatch(`${key(name)} is `);
      expect(problem).toMatch(`, expected ${range}`);
      expect(another).toBeUndefined();
    }
  });

  it("shows long values cut short", () => {
    const [problem = ""] = problemsOf(() => gguf({ [key("block_count")]: "x".repeat(1_000_000) }));
    expect(problem.length).toBeLessThan(200);
    const architecture = "y".repeat(1_000_000);
    expect(failure(() => gguf({ "general.architecture": architecture })).message.length).toBeLessThan(250);
  });

  it("must have a vocabulary of a possible size", () => {
    for (const rows of [0, 2 ** 21 + 1])
      expect(problemsOf(() => gguf({}, rows))).toEqual([
        `rows of token_embd.weight: ${rows}, expected an integer from 1 to ${2 ** 21}`,
      ]);
  });

  it("must have sizes that go together", () => {
    expect(problemsOf(() => gguf({ [key("attention.head_count_kv")]: 7 }))).toEqual([
      "20 heads cannot share 7 key/value heads",
    ]);
    expect(problemsOf(() => gguf({ [key("rope.dimension_count")]: 64 }))).toEqual([
      `${key("rope.dimension_count")} is 64, expected the head dimension 128`,
    ]);
    expect(
      problemsOf(() => gguf({ [key("attention.head_count")]: 3, [key("attention.head_count_kv")]: 1 })),
    ).toEqual([`${key("attention.key_length")} is missing, and 3 heads do not divide a hidden size of 2560`]);
    const uneven = { [key("attention.key_length")]: 33, [key("rope.dimension_count")]: 33 };
    expect(problemsOf(() => gguf(uneven))).toEqual(["head dimension 33 must be even"]);
  });

  it("lists problems of every kind at once", () => {
    const found = problemsOf(() =>
      gguf({
        [key("block_count")]: 0,
        [key("attention.head_count_kv")]: 3,
        [key("rope.scaling.type")]: "su",
        [key("context_length")]: undefined,
      }),
    );
    expect(found).toHaveLength(4);
  });

  it("may say that positions are not scaled", () => {
    expect(gguf({ [key("rope.scaling.type")]: "none", [key("rope.scaling.factor")]: 4 })).toEqual(parsed);
    expect(gguf({ [key("rope.scaling.type")]: "linear", [key("rope.scaling.factor")]: 1 })).toEqual(parsed);
    expect(gguf({ [key("rope.scaling.type")]: "linear" })).toEqual(parsed);
    expect(gguf({ [key("rope.scaling.factor")]: 0 })).toEqual(parsed);
  });

  it.each([
    [{ "rope.scaling.type": "su" }, 'rope.scaling.type "su" is not supported'],
    [
      { "rope.scaling.type": "longrope", "rope.scaling.attn_factor": 0 },
      "rope.scaling.attn_factor is 0, expected a positive number",
    ],
    [
      { "rope.scaling.factor": 2, "rope.scaling.attn_factor": 1.5 },
      "rope.scaling.attn_factor 1.5 is not supported beside linear scaling",
    ],
    [{ "rope.scaling.type": 3 }, "rope.scaling.type 3 is not supported"],
    [{ "rope.scale_linear": 0.5 }, "rope.scale_linear is 0.5, expected a number from 1 to 10^6"],
    [
      { "rope.scaling.type": "yarn", "rope.scaling.factor": 4 },
      "rope.scaling.original_context_length is missing",
    ],
  ])("with %j is refused", (changes: Changes, problem) => {
    const keyed = Object.fromEntries(Object.entries(changes).map(([name, value]) => [key(name), value]));
    expect(problemsOf(() => gguf(keyed))).toEqual([key(problem)]);
  });

  it.each<[Changes, ModelConfig["ropeScaling"]]>([
    [
      { "rope.scaling.type": "linear", "rope.scaling.factor": 4 },
      { type: "linear", factor: 4 },
    ],
    [{ "rope.scale_linear": 2 }, { type: "linear", factor: 2 }],
    [
      {
        "rope.scaling.type": "longrope",
        "rope.scaling.original_context_length": 64,
        "rope.scaling.attn_factor": 1.25,
      },
      { type: "longrope-tensors", originalContext: 64, attentionFactor: 1.25 },
    ],
    [
      {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 1,
        "rope.scaling.original_context_length": 64,
        "rope.scaling.attn_factor": 2,
      },
      { type: "yarn", factor: 1, originalContext: 64, betaFast: 32, betaSlow: 1, attentionFactor: 2 },
    ],
    [
      { "rope.scaling.type": "yarn", "rope.scaling.factor": 4, "rope.scaling.original_context_length": 1024 },
      { type: "yarn", factor: 4, originalContext: 1024, betaFast: 32, betaSlow: 1, attentionFactor: null },
    ],
  ])("with %j is scaled", (changes, scaling) => {
    const keyed = Object.fromEntries(Object.entries(changes).map(([name, value]) => [key(name), value]));
    expect(gguf(keyed).ropeScaling).toEqual(scaling);
  });

  it.each([
    ["mamba", '"mamba"'],
    ["", '""'],
    [undefined, "nothing"],
    [5, "5"],
    [7n, "7"],
  ])("of architecture %s is unsupported", (architecture, shown) => {
    const error = failure(() => gguf({ "general.architecture": architecture }));
    expect(error.code).toBe("MODEL_UNSUPPORTED");
    expect(error.message).toMatch(/^m.gguf: unknown architecture: expected one of bitnet-b1.58, bitnet-25, /);
    expect(error.message.endsWith(`, found ${shown}`)).toBe(true);
  });
});

const hfJson: Changes = {
  architectures: ["BitNetForCausalLM"],
  model_type: "bitnet",
  hidden_act: "relu2",
  hidden_size: 2560,
  intermediate_size: 6912,
  num_hidden_layers: 30,
  num_attention_heads: 20,
  num_key_value_heads: 5,
  head_dim: 128,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  rope_theta: 500000,
  vocab_size: 128256,
  tie_word_embeddings: true,
  quantization_config: {
    quant_method: "bitnet",
    linear_class: "autobitlinear",
    quantization_mode: "offline",
  },
};
const hf = (changes: Changes = {}) => parseHfConfig(changed(hfJson, changes), "m/config.json");
const hfParsed: ModelConfig = { ...parsed, name: "m", isTied: true };

describe("Hugging Face", () => {
  it("is parsed and frozen", () => {
    expect(hf()).toEqual(hfParsed);
    expect(Object.isFrozen(hf())).toBe(true);
    expect(hf({ _name_or_path: "a/b" }).name).toBe("a/b");
    for (const [file, name] of [
      ["/home/me/Falcon3/config.json", "Falcon3"],
      ["C:\\models\\Falcon3/config.json", "Falcon3"],
      ["./config.json", "model"],
    ] as const)
      expect(parseHfConfig(changed(hfJson, {}), file).name).toBe(name);
    for (const [given, name] of [
      ["/mnt/someone/checkpoint-100/", "checkpoint-100"],
      ["./checkpoint", "checkpoint"],
      ["..\\checkpoint", "checkpoint"],
    ])
      expect(hf({ _name_or_path: given }).name).toBe(name);
    expect(hf({ architectures: ["BitNetForCausalLM", "Other"] })).toEqual(hfParsed);
  });

  it.each([undefined, null])("does without what it can know otherwise: %j", (absent) => {
    const sparse = {
      head_dim: absent,
      num_key_value_heads: absent,
      rms_norm_eps: absent,
      rope_theta: absent,
      rope_scaling: absent,
      rope_parameters: absent,
      hidden_act: absent,
      tie_word_embeddings: absent,
    };
    expect(hf(sparse)).toEqual({ ...hfParsed, nKvHeads: 20, isTied: null });
  });

  it.each([
    [true, true],
    [false, false],
    [undefined, null],
    ["yes", null],
  ])("tie_word_embeddings %j", (value, isTied) => {
    expect(hf({ tie_word_embeddings: value }).isTied).toBe(isTied);
  });

  const required = [
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "vocab_size",
  ];

  it.each(required)("without %s lists just that", (name) => {
    for (const absent of [undefined, null])
      expect(problemsOf(() => hf({ [name]: absent }))).toEqual([`${name} is missing`]);
    expect(problemsOf(() => hf({ [name]: undefined, head_dim: undefined }))).toEqual([`${name} is missing`]);
  });

  it.each([...required, "num_key_value_heads", "head_dim"])("%s must be a count", (name) => {
    for (const value of [0, -3, 2.5, 1e300, "256", true, [256], {}])
      expect(problemsOf(() => hf({ [name]: value }))[0]).toMatch(
        new RegExp(`^${name} is .*, expected an integer from 1 to \\d+$`),
      );
  });

  it("lists problems of every kind at once", () => {
    const found = problemsOf(() =>
      hf({
        hidden_size: undefined,
        num_hidden_layers: "30",
        rms_norm_eps: 2,
        rope_theta: 0,
        rope_scaling: { type: "other", factor: 2 },
        attention_bias: true,
        hidden_act: "swish",
        head_dim: 7,
        num_key_value_heads: 3,
        quantization_config: { linear_class: "other" },
      }),
    );
    expect(found).toEqual([
      "hidden_size is missing",
      "attention_bias is not supported",
      'num_hidden_layers is "30", expected an integer from 1 to 4096',
      "rms_norm_eps is 2, expected a number between 0 and 1",
      'rope_scaling of type "other" is not supported',
      "rope_theta is 0, expected a number between 1 and 10^12",
      'hidden_act "swish" is not supported; supported: relu2, silu, gelu_pytorch_tanh',
      'quantization_config.linear_class "other" is not supported; supported: bitlinear, autobitlinear',
      "20 heads cannot share 3 key/value heads",
      "head dimension 7 must be even",
    ]);
  });

  it.each([
    ["Qwen3ForCausalLM", 128],
    ["Gemma3ForCausalLM", 256],
    ["LlamaForCausalLM", 64],
    ["Qwen2ForCausalLM", 64],
  ])("of %s without head_dim has heads of %d", (architecture, headDim) => {
    const gemma = { hidden_act: undefined, sliding_window: 512 };
    const changes = { architectures: [architecture], hidden_size: 1280, head_dim: undefined, ...gemma };
    expect(hf(changes).headDim).toBe(headDim);
    expect(hf({ ...changes, head_dim: 32 }).headDim).toBe(32);
  });

  it("finds the RoPE base in either place", () => {
    const inside = { rope_type: "default", rope_theta: 1234 };
    expect(hf({ rope_theta: undefined, rope_parameters: inside }).ropeTheta).toBe(1234);
    expect(hf({ rope_theta: 1234, rope_parameters: inside }).ropeTheta).toBe(1234);
    expect(hf({ rope_theta: 1234, rope_parameters: {} }).ropeTheta).toBe(1234);
    expect(hf({ rope_scaling: { rope_type: "default" } })).toEqual(hfParsed);
  });

  it.each<[Changes, string]>([
    [{ rope_scaling: { type: "dynamic" } }, "rope_scaling.factor is missing"],
    [{ rope_scaling: { type: "yarn", factor: 2, mscale: 1 } }, "rope scaling with mscale is not supported"],
    [{ rope_scaling: { factor: 2 } }, "rope_scaling.factor 2 is not supported"],
    [{ rope_scaling: "yarn" }, 'rope_scaling is "yarn", expected an object'],
    [
      { rope_parameters: { rope_type: "proportional", rope_theta: 500000 } },
      'rope_parameters of type "proportional" is not supported',
    ],
    [{ rope_parameters: [] }, "rope_parameters is an array, expected an object"],
    [
      { rope_theta: undefined, rope_parameters: { full_attention: { rope_theta: 5 } } },
      "rope_parameters.rope_theta is missing",
    ],
    [
      { rope_parameters: { rope_theta: 10000 } },
      "rope_theta is 500000, but rope_parameters.rope_theta is 10000",
    ],
    [{ partial_rotary_factor: 0.5 }, "partial_rotary_factor 0.5 is not supported"],
    [
      { rope_parameters: { partial_rotary_factor: 0.25 } },
      "rope_parameters.partial_rotary_factor 0.25 is not supported",
    ],
  ])("%j is refused", (changes, problem) => {
    expect(problemsOf(() => hf(changes))).toEqual([problem]);
  });

  it.each([
    ["relu2", "relu2"],
    ["silu", "silu"],
    ["gelu_pytorch_tanh", "gelu"],
  ])("hidden_act %s", (value, activation) => {
    expect(hf({ hidden_act: value }).activation).toBe(activation);
  });

  it.each([
    [{ linear_class: "autobitlinear", quantization_mode: "online" }, "multiplies"],
    [{ linear_class: "autobitlinear" }, "multiplies"],
    [{ linear_class: "bitlinear", quantization_mode: "offline" }, "divides"],
    [{ linear_class: null }, "divides"],
    [{ quant_method: "bitnet" }, "divides"],
    [{}, "divides"],
    [null, "divides"],
    [undefined, "divides"],
  ])("quantization_config %j: its scales %s", (quantization, weightScale) => {
    expect(hf({ quantization_config: quantization }).weightScale).toBe(weightScale);
  });

  it.each<[unknown, string]>([
    [{ linear_class: "x" }, 'linear_class "x" is not supported; supported: bitlinear, autobitlinear'],
    [{ quantization_mode: 1 }, "quantization_mode 1 is not supported; supported: offline, online"],
    [{ quant_method: "gptq" }, 'quant_method "gptq" is not supported; supported: bitnet'],
  ])("quantization_config %j is refused", (quantization, problem) => {
    expect(problemsOf(() => hf({ quantization_config: quantization }))).toEqual([
      `quantization_config.${problem}`,
    ]);
  });

  it("may have norms inside its projections", () => {
    expect(hf()).toMatchObject({ hasInnerNorms: null, innerNormEps: 1e-5 });
    const quantization = { linear_class: "autobitlinear", use_rms_norm: true };
    expect(hf({ quantization_config: quantization })).toMatchObject({
      hasInnerNorms: true,
      innerNormEps: 1e-6,
    });
    expect(hf({ quantization_config: { ...quantization, rms_norm_eps: 1e-4 } }).innerNormEps).toBe(1e-4);
  });

  const twos = new Array(64).fill(2);

  it("wants a LongRoPE factor for every pair", () => {
    const scaling = { rope_type: "longrope", short_factor: [1], long_factor: twos };
    expect(problemsOf(() => hf({ rope_scaling: scaling }))).toEqual([
      "rope scaling has 1 factors, expected 64, half of the head dimension",
    ]);
  });

  it.each<[Changes, ModelConfig["ropeScaling"]]>([
    [
      { type: "linear", factor: 2 },
      { type: "linear", factor: 2 },
    ],
    [
      { rope_type: "dynamic", factor: 2 },
      { type: "dynamic", factor: 2, originalContext: 4096 },
    ],
    [
      { rope_type: "yarn", factor: 4, original_max_position_embeddings: 1024, attention_factor: 1.5 },
      { type: "yarn", factor: 4, originalContext: 1024, betaFast: 32, betaSlow: 1, attentionFactor: 1.5 },
    ],
    [
      {
        rope_type: "llama3",
        ...{ factor: 8, original_max_position_embeddings: 8192, low_freq_factor: 1, high_freq_factor: 4 },
      },
      { type: "llama3", factor: 8, originalContext: 8192, lowFreqFactor: 1, highFreqFactor: 4 },
    ],
    [
      {
        rope_type: "longrope",
        ...{ original_max_position_embeddings: 4096, short_factor: twos, long_factor: twos },
      },
      {
        type: "longrope",
        originalContext: 4096,
        shortFactors: twos,
        longFactors: twos,
        attentionFactor: 1,
      },
    ],
  ])("rope_scaling %j", (scaling, expected) => {
    expect(hf({ rope_scaling: scaling }).ropeScaling).toEqual(expected);
    expect(hf({ rope_parameters: { ...scaling, rope_theta: 500000 } }).ropeScaling).toEqual(expected);
  });

  it("of an architecture that is not read yet says what it needs", () => {
    expect(failure(() => hf({ architectures: ["Qwen3_5ForCausalLM"] })).message).toMatch(
      /cannot be run yet: they need gated DeltaNet/,
    );
  });

  it("shows values of any depth", () => {
    let deep: unknown = 1;
    for (let i = 0; i < 100_000; i++) deep = [deep];
    for (const name of ["hidden_size", "hidden_act", "rope_theta"])
      expect(problemsOf(() => hf({ [name]: deep }))[0]).toContain("an array");
    expect(problemsOf(() => hf({ quantization_config: deep }))).toEqual([
      "quantization_config is an array, expected an object",
    ]);
  });

  it.each([null, [], "text", 5])("%j is no configuration", (json) => {
    expect(problemsOf(() => parseHfConfig(json, "m/config.json"))[0]).toMatch(
      /^expected a JSON object, found/,
    );
  });

  it("may name its family by model_type alone", () => {
    expect(hf({ architectures: undefined, model_type: "bitnet" }).architecture).toBe("bitnet-b1.58");
  });

  it.each([
    [{ architectures: ["MambaForCausalLM"] }, '"MambaForCausalLM"'],
    [{ architectures: undefined, model_type: "gpt2" }, '"gpt2"'],
    [{ architectures: [], model_type: undefined }, "nothing"],
    [{ architectures: [{}] }, "an object"],
  ])("%j is unsupported", (changes, shown) => {
    const error = failure(() => hf(changes));
    expect(error.code).toBe("MODEL_UNSUPPORTED");
    expect(error.message).toMatch(/^m\/config.json: unknown architecture: expected one of BitNetForCausalLM/);
    expect(error.message.endsWith(`found ${shown}`)).toBe(true);
  });
});

describe("the Llama shape", () => {
  const llamaFields = Object.fromEntries(
    Object.entries(ggufFields).map(([name, value]) => [name.replace("bitnet-b1.58.", "llama."), value]),
  );

  it("rotates neighbours in GGUF, halves in Hugging Face files", () => {
    const fields = new Map(Object.entries({ ...llamaFields, "general.architecture": "llama" }));
    expect(parseGgufConfig(fields, "m.gguf", 128256)).toMatchObject({
      architecture: "llama",
      pairing: "adjacent",
      activation: "silu",
    });
    expect(hf({ architectures: ["LlamaForCausalLM"], hidden_act: undefined })).toMatchObject({
      architecture: "llama",
      pairing: "half",
      activation: "silu",
      floatsAreMasters: true,
      masters: "ternary",
    });
  });

  it("has defaults of its own", () => {
    const changes = { architectures: ["LlamaForCausalLM"], rms_norm_eps: undefined, rope_theta: undefined };
    expect(hf({ ...changes, tie_word_embeddings: undefined })).toMatchObject({
      normEps: 1e-6,
      ropeTheta: 10000,
      isTied: false,
      hasHead: true,
    });
  });

  it("has no biases", () => {
    const changes = { architectures: ["LlamaForCausalLM"], mlp_bias: true };
    expect(problemsOf(() => hf(changes))).toEqual(["mlp_bias is not supported"]);
  });
});

describe("windows of Gemma 3", () => {
  const gemma = (more: Changes) =>
    hf({ architectures: ["Gemma3ForCausalLM"], hidden_act: undefined, num_hidden_layers: 4, ...more });
  const file = (more: Changes) => {
    const facts = Object.entries(changed(ggufFields, {}));
    const named = facts.map(([name, value]) => [name.replace("bitnet-b1.58.", "gemma3."), value]);
    const fields = { ...Object.fromEntries(named), "general.architecture": "gemma3" };
    return parseGgufConfig(new Map(Object.entries(changed(fields, more))), "m.gguf", 128256);
  };

  it("are none where no layer has one", () => {
    const none = ["full_attention", "full_attention", "full_attention", "full_attention"];
    expect(gemma({ sliding_window: 512, layer_types: none }).slidingWindow).toBeNull();
    expect(gemma({ sliding_window: 512, sliding_window_pattern: 1 }).slidingWindow).toBeNull();
    expect(gemma({}).slidingWindow?.size).toBe(4096);
  });

  it("are none in files that do not say them, whose rotations are llama.cpp's usual ones", () => {
    const bare = { "gemma3.rope.freq_base": undefined };
    expect(file(bare)).toMatchObject({ slidingWindow: null, ropeTheta: 10000 });
    expect(file({ ...bare, "gemma3.attention.sliding_window": 0 }).slidingWindow).toBeNull();
    expect(file({ "gemma3.attention.sliding_window": 512 }).slidingWindow).toMatchObject({ size: 512 });
  });
});

describe("an architecture that ordinary models have, too", () => {
  // Of Gemma 3, which the others do not read.
  const more = { sliding_window: 512, hidden_act: undefined };

  it.each(knownArchitectures.hf)("is %s, unless it is BitNet's own", (architecture) => {
    const parsed = (quantization: unknown) =>
      hf({ ...more, architectures: [architecture], quantization_config: quantization });
    const isBitNet = /bitnet/i.test(architecture);
    // Nobody trained the weights of an ordinary model to be ternary, nor any but BitNet b1.58 2B-4T to answer in its turns.
    expect(parsed(undefined).floatsAreMasters).toBe(isBitNet);
    const usual = architecture === "BitNetForCausalLM" ? "bitnet" : null;
    expect(familyOf(parsed(undefined)).chatTemplate).toBe(usual);
    expect(parsed({ quant_method: "bitnet" }).floatsAreMasters).toBe(true);
  });
});
