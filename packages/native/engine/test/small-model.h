// A model of two layers in memory, in the words that decodeProgram reads: what the TypeScript side would send, without it.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "../engine.h"

namespace bitnet::test {

// How the weights of the matrices are scaled, and what the embedding is stored as.
struct ModelKind {
  engine::ScaleKind scale;
  DenseType table;
};

template <class Record>
void putRecord(std::vector<int32_t>& words, const Record& record) {
  words.resize(words.size() + engine::wordsOf<Record>);
  std::memcpy(words.data() + words.size() - engine::wordsOf<Record>, &record, sizeof record);
}

struct SmallModel {
  static constexpr int32_t hidden = 256, ffn = 384, nHeads = 4, nKvHeads = 2, headDim = 64, vocab = 700, context = 128, nLayers = 2;

  std::vector<int32_t> words;
  std::vector<std::vector<float>> scales;
  std::vector<uint8_t> bytes;

  explicit SmallModel(ModelKind kind);

  // Null with the reason printed.
  engine::Executable* load(const Kernels* kernels, engine::LoadLimits limits) const;
};

}  // namespace bitnet::test
