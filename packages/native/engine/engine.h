// What a program that runs models includes, whatever it is written for: choose kernels, load an Executable, run steps on the pool.
//
//   KernelChoice choice;           chooseKernels(nullptr, nullptr, choice, failure)
//   Pool::instance().reserve(2);
//   Executable executable(choice.kernels, limits);
//   executable.create(program, …), executable.fillSource(…), executable.finish(failure)
//   runStep(executable, words, nWords, result, failure)
//
// Programs and steps come as words: core/backend/encode-program.ts and encode-step.ts say which.
#pragma once
#include "executable.h"
#include "kernel-choice.h"
#include "pool.h"
#include "step-job.h"

namespace bitnet::engine {

// Runs one step and waits for it. `result` gets the words that core/backend/engine/decode-result.ts reads. Not from a thread of the pool.
bool runStep(Executable& executable, const int32_t* words, size_t nWords, Array<int32_t>& result, Failure& failure);

}  // namespace bitnet::engine
