// Which activations a step of many rows may keep in lanes and strips (LaneKernels).
#include "executable.h"

namespace bitnet::engine {

// All that touches an activation in lanes has to know them: products whose results do not go through memory first, norms, which make strips of
// lanes, the embedding and the head.
void Executable::markLanes() {
  if (!kernels_->tiles || !kernels_->tiles->lanes) return;
  for (View& view : views_) view.suitsLanes = !view.hasGroupReader;
  bool changes = true;
  while (changes) {
    changes = false;
    for (const Op& op : program_.ops) changes |= rulesOutLanes(op);
  }
}

// Takes the mark from what an operation keeps from having it. True when it did.
bool Executable::rulesOutLanes(const Op& op) {
  bool changes = false;
  const auto ruleOut = [&](int32_t id) {
    bool& suits = views_[index(id)].suitsLanes;
    changes |= suits;
    suits = false;
  };
  const int32_t* lists = program_.lists.data() + op.firstList;
  // Results that are handed on as tiles leave them.
  const auto isFed = [&] {
    if (&op == program_.ops.data()) return false;
    const Op& before = (&op)[-1];
    if (before.kind != OpKind::BitLinear || !before.feedsNext) return false;
    for (int32_t i = 0; i < before.nWeights; i++)
      if (program_.buffer(program_.lists[index(before.firstList + i)]).scaleKind != ScaleKind::Tensor) return false;
    return true;
  };
  switch (op.kind) {
    case OpKind::Embed:
    case OpKind::Head: break;
    case OpKind::RmsNormQuant:
      if (!views_[index(op.x)].suitsLanes) ruleOut(op.out);
      if (!views_[index(op.out)].suitsLanes) ruleOut(op.x);
      break;
    case OpKind::BitLinear:
      for (int32_t i = 0; i < op.nWeights; i++) ruleOut(lists[op.nWeights + i]);
      break;
    case OpKind::RopeKv:
      for (const int32_t id : {op.q, op.k, op.v}) ruleOut(id);
      break;
    case OpKind::Attention:
      for (const int32_t id : {op.q, op.out}) ruleOut(id);
      break;
    case OpKind::GatedActivation:
      for (const int32_t id : {op.gate, op.up}) ruleOut(id);
      if (!isFed()) ruleOut(op.out);
      break;
    case OpKind::Residual:
      ruleOut(op.y);
      if (!isFed()) ruleOut(op.x);
      break;
  }
  return changes;
}

}  // namespace bitnet::engine
