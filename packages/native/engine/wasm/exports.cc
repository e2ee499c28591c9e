// What the module gives to JavaScript (packages/wasm/src/engine.ts): the moves of node/handle.cc and node/run.cc as plain functions. Pointers are
// of this memory; who calls has checked nothing but that sizes are whole numbers. All but `bitnet_help` belong to the coordinating thread.
#include <cstring>

#include "../executable.h"
#include "../kernel-choice.h"
#include "../kernels/known-answer.h"
#include "../kernels/wasm/dots.h"
#include "../step-job.h"
#include "pool.h"

#define BITNET_EXPORT(name) extern "C" __attribute__((export_name(name), used))

namespace bitnet::engine {
namespace {

Failure lastFailure;
const std::atomic<bool> neverCloses{false};

class WaitedFor final : public StepJob {
 public:
  explicit WaitedFor(Executable& executable) : StepJob(executable, nullptr, neverCloses) {}
  void done(bool) override {}
};

// The step whose result waits to be read.
WaitedFor* current = nullptr;

const Variant* variantAt(int index) {
  int count;
  const Variant* variants = kernelVariants(&count);
  return index >= 0 && index < count ? variants + index : nullptr;
}

}  // namespace

// Must equal `engineVersion` in packages/wasm/src/engine.ts: a module of other sources would misread programs.
BITNET_EXPORT("bitnet_version") int32_t version() { return 4; }

// Once for a memory, before anything else. (Called by name, because the linker would otherwise do it in every export.)
extern "C" void __wasm_call_ctors();
BITNET_EXPORT("bitnet_start") void start() { __wasm_call_ctors(); }

BITNET_EXPORT("bitnet_allocate") void* allocate(size_t bytes) { return allocateBlock(bytes); }
BITNET_EXPORT("bitnet_free") void release(void* block, size_t bytes) { freeBlock(block, bytes); }
// Bytes of blocks that are in use.
BITNET_EXPORT("bitnet_live_bytes") double liveBytes() { return static_cast<double>(liveAllocations().bytes); }

// ---- kernels ----

// The relaxed instructions (WasmProof) that were wrong in this call: to be asked when the code is cold and when it is hot.
BITNET_EXPORT("bitnet_wrong_instructions") uint32_t wrongInstructions() { return findWrongInstructions(); }
// To be told before variants are checked.
BITNET_EXPORT("bitnet_set_proved") void setProved(uint32_t proofs) { setProvedInstructions(proofs); }

// One product of a variant for a stopwatch: 64 rows of 2560 columns, whatever lies there.
BITNET_EXPORT("bitnet_try_speed") int32_t trySpeed(int variant) {
  static uint8_t weights[64 * 640];
  static int8_t x[2560];
  static int32_t acc[64];
  const int32_t sum = 0;
  variantAt(variant)->kernels()->ternaryMatmul({weights, 640, 64, 2560}, {x, 2560, 1, 2560}, &sum, {acc, 64, 1, 64});
  return acc[0];
}

BITNET_EXPORT("bitnet_variant_name") const char* variantName(int index) {
  const Variant* variant = variantAt(index);
  return variant ? variant->isa : nullptr;
}

// Null when the variant passes its known-answer test, otherwise what is wrong, in words.
BITNET_EXPORT("bitnet_check_variant") const char* checkVariant(int index) {
  static char reason[sizeof RejectedVariant::reason];
  return whyRejected(index, reason, sizeof reason);
}

// ---- executables ----

// `words`: a program, and `scales` its arrays of scales. Null after a failure.
BITNET_EXPORT("bitnet_create")
Executable* createExecutable(int variant, const int32_t* limitWords, const int32_t* words, size_t nWords, const ScaleValues* scales, size_t nScales) {
  lastFailure = {};
  LoadLimits limits;
  if (!readRecord(limitWords, "limits", limits, lastFailure)) return nullptr;
  auto* executable = create<Executable>(variantAt(variant)->kernels(), limits);
  if (!executable) {
    lastFailure.set(Code::OutOfMemory, "no memory for an executable");
  } else if (executable->create({words, nWords, scales, nScales, nullptr, 0}, lastFailure)) {
    return executable;
  }
  destroy(executable);
  return nullptr;
}

// Where to write bytes of a source; null where nothing reads them, or after a failure.
BITNET_EXPORT("bitnet_source_room") uint8_t* sourceRoom(Executable* executable, size_t source, double offset, size_t n) {
  uint8_t* room;
  lastFailure = {};
  executable->roomOfSource(source, static_cast<uint64_t>(offset), n, room, lastFailure);
  return room;
}

BITNET_EXPORT("bitnet_finish") bool finishExecutable(Executable* executable) {
  lastFailure = {};
  return executable->finish(lastFailure);
}

BITNET_EXPORT("bitnet_release_pages") void releasePages(Executable* executable, const int32_t* pages, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (pages[i] >= 0 && pages[i] < executable->limits().nPages) executable->arena().release(pages[i]);
}

// Of the last call.
BITNET_EXPORT("bitnet_numbers") const EngineNumbers* numbersOf(Executable* executable) {
  static EngineNumbers numbers;
  numbers = executable->numbers();
  return &numbers;
}
BITNET_EXPORT("bitnet_numbers_bytes") size_t numbersBytes() { return sizeof(EngineNumbers); }

BITNET_EXPORT("bitnet_destroy") void destroyExecutable(Executable* executable) { destroy(executable); }

// ---- steps ----

// False after a failure. Otherwise the result stands until `bitnet_end_step`, which is to follow in both cases.
BITNET_EXPORT("bitnet_run") bool runStep(Executable* executable, const int32_t* words, size_t nWords) {
  lastFailure = {};
  current = create<WaitedFor>(*executable);
  if (!current) return lastFailure.set(Code::OutOfMemory, "no memory for a step");
  if (current->prepare(words, nWords)) Pool::instance().run(*current);
  lastFailure = current->failure();
  return lastFailure.code == Code::None;
}

BITNET_EXPORT("bitnet_result") const int32_t* result() { return current->result().data(); }
BITNET_EXPORT("bitnet_result_words") size_t resultWords() { return current->result().size(); }

BITNET_EXPORT("bitnet_end_step") void endStep() {
  destroy(current);
  current = nullptr;
}

// ---- failures ----

BITNET_EXPORT("bitnet_failure_code") const char* failureCode() { return codeName(lastFailure.code); }
BITNET_EXPORT("bitnet_failure_message") const char* failureMessage() { return lastFailure.message; }
BITNET_EXPORT("bitnet_failure_op") int32_t failureOp() { return lastFailure.op; }
BITNET_EXPORT("bitnet_failure_row") int32_t failureRow() { return lastFailure.row; }

// ---- threads ----

BITNET_EXPORT("bitnet_set_helpers") void setHelpers(int n) { Pool::instance().setHelpers(n); }
BITNET_EXPORT("bitnet_help") void help(int index) { Pool::instance().help(index); }
BITNET_EXPORT("bitnet_dismiss") void dismiss() { Pool::instance().dismiss(); }

}  // namespace bitnet::engine
