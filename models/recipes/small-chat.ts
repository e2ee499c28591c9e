/**
 * The recipe of the default model: five million ternary parameters that hold simple chats, tell stories and admit what they do not know.
 * Its text is made here; `BITNET_TEXT` may name a folder with tinystories_sample.jsonl, storybooks_ccby.jsonl and
 * aesop_for_children.jsonl, which give it more of natural English.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Example, RecipeSource } from "@bitnet.ts/train";
import { chat, contextQuestion, type Message, scene, single } from "./small-chat/chats.ts";
import { Draw } from "./small-chat/draw.ts";
import { everyday, longConversation } from "./small-chat/everyday.ts";
import { conversation, copying, counting, recall, spelling, sums, tale } from "./small-chat/practice.ts";
import {
  arithmeticQuestion,
  copyQuestion,
  factQuestion,
  outsideQuestion,
  untoldQuestion,
} from "./small-chat/questions.ts";

/** The seed that evaluation documents are drawn from: only they hold words that training never sees. */
const heldOutSeed = 0x7e57;

/** Several short conversations make one source; its kind tells them apart from other sources' draws. */
function source(name: string, shares: [number, number], make: (draw: Draw) => Message[]): RecipeSource {
  const kind = [...name].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) >>> 0, 7);
  const generate = (seed: number, index: number): Example => {
    const draw = new Draw((seed ^ kind) >>> 0, index, seed === heldOutSeed);
    return { kind: "chat", messages: make(draw) };
  };
  return { name, shares, generate, heldOut: 48 };
}

function files(): RecipeSource[] {
  const folder = process.env.BITNET_TEXT;
  if (folder === undefined || folder === "") return [];
  const file = (name: string, shares: [number, number]) => ({
    name,
    path: join(folder, name),
    shares,
    heldOut: 48,
  });
  const all = [
    file("tinystories_sample.jsonl", [10, 3]),
    file("storybooks_ccby.jsonl", [3, 0]),
    file("aesop_for_children.jsonl", [1, 0]),
  ];
  return all.filter(({ path }) => existsSync(path));
}

/** How every extension ends. */
const toZero = { decay: "linear", floorShare: 0, weightDecay: 0, otherWeight: 0.1 } as const;

export default {
  name: "trit-5m",
  description:
    "A ternary model of 5 million parameters for simple chats, trained with bitnet.ts on generated text",
  seed: 1,
  model: {
    hiddenSize: 256,
    ffnSize: 768,
    nLayers: 6,
    nHeads: 8,
    nKvHeads: 2,
    headDim: 32,
    contextLength: 512,
  },
  tokenizer: { vocabSize: 2048, samples: 20_000, required: Array.from({ length: 101 }, (_, n) => String(n)) },
  sources: [
    source("stories", [36, 28], scene),
    source("chats", [20, 34], chat),
    source("facts", [6, 9], (draw) => single(draw, factQuestion(draw), false)),
    source("unknown", [4, 6], (draw) =>
      single(draw, draw.chance(0.12) ? untoldQuestion(draw) : outsideQuestion(draw), false),
    ),
    source("context", [5, 6], (draw) => single(draw, contextQuestion(draw), true)),
    source("arithmetic", [8, 8], (draw) => single(draw, arithmeticQuestion(draw), false)),
    source("copying", [8, 8], (draw) => single(draw, copyQuestion(draw), true)),
    ...files(),
    source("practice copying", [0, 0], copying),
    source("practice recall", [0, 0], recall),
    source("practice sums", [0, 0], sums),
    source("conversations", [0, 0], conversation),
    source("tales", [0, 0], tale),
    source("practice spelling", [0, 0], spelling),
    source("practice counting", [0, 0], counting),
    source("everyday", [0, 0], everyday),
    source("long conversations", [0, 0], longConversation),
  ],
  otherWeights: [1, 0.1],
  tokens: 14_000_000,
  batchTokens: 8192,
  microBatchTokens: 4096,
  schedule: {
    peakRate: 2.5e-3,
    warmupSteps: 100,
    decay: "linear",
    floorShare: 0.05,
    stage2Rate: 0.66,
    weightDecay: 0.1,
    stage1Share: 0.5,
  },
  // The run above copied and remembered only words that it knew: more of that, with words without end.
  extensions: [
    {
      // Context was learnt by then, and spelling was not: the rest of the time went to another mixture.
      tokens: 3_203_072,
      decayTokens: 9_500_000,
      shares: {
        "practice copying": 22,
        "practice recall": 20,
        "practice sums": 14,
        conversations: 16,
        tales: 10,
        chats: 8,
        stories: 2,
        facts: 4,
        unknown: 4,
      },
      peakRate: 1.5e-3,
      warmupSteps: 50,
      ...toZero,
    },
    {
      tokens: 1_638_400,
      decayTokens: 8_000_000,
      shares: {
        "practice copying": 14,
        "practice spelling": 20,
        "practice recall": 8,
        "practice sums": 20,
        conversations: 12,
        tales: 6,
        chats: 6,
        stories: 2,
        facts: 8,
        unknown: 4,
      },
      peakRate: 1e-3,
      warmupSteps: 10,
      ...toZero,
    },
    {
      tokens: 2_867_200,
      decayTokens: 9_200_000,
      shares: {
        "practice copying": 12,
        "practice spelling": 20,
        "practice recall": 8,
        "practice sums": 16,
        "practice counting": 8,
        conversations: 12,
        tales: 6,
        chats: 6,
        stories: 2,
        facts: 6,
        unknown: 4,
      },
      peakRate: 8e-4,
      warmupSteps: 1,
      ...toZero,
      backward: "bf16",
    },
    {
      tokens: 2_457_600,
      decayTokens: 6_400_000,
      shares: {
        "practice copying": 11,
        "practice spelling": 17,
        "practice recall": 8,
        "practice sums": 14,
        "practice counting": 8,
        everyday: 12,
        conversations: 10,
        tales: 6,
        chats: 6,
        stories: 2,
        facts: 6,
        unknown: 4,
      },
      peakRate: 5.5e-4,
      warmupSteps: 1,
      ...toZero,
      backward: "bf16",
    },
    {
      tokens: 3_600_000,
      shares: {
        "long conversations": 30,
        "practice copying": 10,
        "practice spelling": 14,
        "practice recall": 6,
        "practice sums": 9,
        "practice counting": 5,
        everyday: 7,
        tales: 5,
        chats: 4,
        facts: 5,
        unknown: 3,
        stories: 2,
      },
      peakRate: 3.4e-4,
      warmupSteps: 1,
      ...toZero,
      backward: "bf16",
    },
  ],
  evaluateEvery: 100,
  checkpointEvery: 50,
};
