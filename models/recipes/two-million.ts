/**
 * Two million parameters, to compare forms of weights at equal size, text, budget and seed (compare-forms.ts): `bitnet train … --form float`,
 * `b1.58` or `b1`. The text is what small-chat.ts generates; where `BITNET_TEXT` names a folder as there, its files alone.
 */
import smallChat from "./small-chat.ts";

/** Bytes of the files, in megabytes: every passage comes as often as any other. */
const sizes: Readonly<Record<string, number>> = {
  "tinystories_sample.jsonl": 6.2,
  "storybooks_ccby.jsonl": 1.5,
  "aesop_for_children.jsonl": 0.15,
};

const files = smallChat.sources.filter((source) => "path" in source);
const generated = smallChat.sources.filter(
  (source) => "generate" in source && source.shares.some((share) => share > 0),
);

const sources =
  files.length === 0
    ? generated
    : files.map((source) => {
        const share = sizes[source.name] ?? 1;
        return { ...source, shares: [share, share], heldOut: 96 };
      });

export default {
  name: files.length === 0 ? "two-million-chat" : "two-million-text",
  description: "Two million parameters, to compare forms of weights",
  seed: 1,
  model: { hiddenSize: 192, ffnSize: 512, nLayers: 4, nHeads: 6, headDim: 32, contextLength: 256 },
  tokenizer: { vocabSize: 1024, samples: 6000 },
  sources,
  otherWeights: [1, 1],
  tokens: 1_000_000,
  batchTokens: 1024,
  microBatchTokens: 4096,
  schedule: { peakRate: 2.5e-3, warmupSteps: 100 },
  evaluateEvery: 200,
  checkpointEvery: 100,
};
