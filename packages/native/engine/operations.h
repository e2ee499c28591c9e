// What computes the operations of a program: each a function, for one row or for all of them. Those that meet barriers return true when the step is
// to stop.
#pragma once
#include "step-context.h"

namespace bitnet::engine {

// ---- all rows at once, the work shared out among the threads ----

// bit-linear.cc
void bitLinear(const StepContext& c, int32_t opIndex, WorkCounter* counters);
// The operation after a bitLinear, where it is computed from each chunk of results while they are in the cache: unless the step asks for
// what goes between the two. Null otherwise.
const Operation* joinedTo(const StepContext& c, int32_t opIndex);
// attention.cc
bool attention(const StepContext& c, const AttentionOp& op, WorkCounter* counters);
// head.cc
bool head(const StepContext& c, const HeadOp& op, int32_t opIndex, WorkCounter* counters);

// ---- one row, while other threads compute others: row-operations.cc ----

void embed(const StepContext& c, const EmbedOp& op, int32_t row);
void embedLanes(const StepContext& c, const EmbedOp& op, int32_t row);
void rmsNormQuant(const StepContext& c, const RmsNormQuantOp& op, int32_t opIndex, int32_t row);
// The rows of one block; lanes without a row become zeros.
void rmsNormQuantLanes(const StepContext& c, const RmsNormQuantOp& op, int32_t opIndex, int32_t first);
void rmsNorm(const StepContext& c, const RmsNormOp& op, int32_t row);
void quantise(const StepContext& c, const QuantiseOp& op, int32_t opIndex, int32_t row);
void ropeKv(const StepContext& c, const RopeKvOp& op, int32_t row);
void rope(const StepContext& c, const RopeOp& op, int32_t row);
void writeKv(const StepContext& c, const WriteKvOp& op, int32_t row);
void gatedActivation(const StepContext& c, const GatedActivationOp& op, int32_t row);
void activation(const StepContext& c, const ActivationOp& op, int32_t row);
void multiplyRows(const StepContext& c, const MultiplyOp& op, int32_t row);
void bias(const StepContext& c, const BiasOp& op, int32_t row);
void lora(const StepContext& c, const LoraOp& op, int32_t row);
void scale(const StepContext& c, const ScaleOp& op, int32_t row);
void residual(const StepContext& c, const ResidualOp& op, int32_t row);

// ---- what several of them do ----

// out = rmsNorm(x) · weight; gives the largest bits & 0x7fffffff of what comes out.
uint32_t normalise(const StepContext& c, const float* x, const float* weight, int32_t cols, float eps, float* out);
// The angles of the row's position.
const float* anglesOf(const StepContext& c, int32_t table, int32_t row);
// Where the key of a row lies; its value follows kvHalf bytes later.
uint8_t* cachedKey(const StepContext& c, int32_t kv, int32_t row, int32_t kvHead);
void cache(const StepContext& c, const float* x, int32_t n, uint8_t* out);

}  // namespace bitnet::engine
