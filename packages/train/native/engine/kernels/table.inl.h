// The table of one instruction set. Include after a lanes.h and f32-lanes.inl.h.
#pragma once
#include "attention.inl.h"
#include "product.inl.h"
#include "rows.inl.h"

namespace bitnet::train {
namespace {

struct TernaryProduct {
  void (*pack)(const Product& p, int panel) = nullptr;
  void (*multiply)(const Product& p, int first, int end) = nullptr;
};

struct BrainProduct {
  void (*packA)(const Product& p, int first, int end) = nullptr;
  void (*packB)(const Product& p, int panel) = nullptr;
  void (*multiply)(const Product& p, int first, int end) = nullptr;
};

constexpr TrainKernels trainTable(const char* isa, TernaryProduct ternary = {}, BrainProduct brains = {}) {
  return {
      .isa = isa,
      .tileRows = tileRows,
      .panelCols = panelCols,
      .packA = packA,
      .packB = packB,
      .multiply = multiplyTask,
      .packTrits = ternary.pack,
      .multiplyTrits = ternary.multiply,
      .packBrainsA = brains.packA,
      .packBrainsB = brains.packB,
      .multiplyBrains = brains.multiply,
      .stripedDots = stripedDots,
      .rmsNorm = rmsNorm,
      .rmsNormGradient = rmsNormGradient,
      .quantise = quantise,
      .sumWeights = sumWeights,
      .trits = trits,
      .signs = signs,
      .rope = rope,
      .attention = attention,
      .attentionGradient = attentionGradient,
      .gate = gate,
      .gateGradient = gateGradient,
      .add = addAll,
      .addScaled = addScaled,
      .dropout = dropout,
      .crossEntropy = crossEntropy,
      .sumSquares = sumSquares,
      .adamw = adamw,
  };
}

}  // namespace
}  // namespace bitnet::train
