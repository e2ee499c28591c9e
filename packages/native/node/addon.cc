// The Node-API module: what src/binding.ts sees. Small functions stand here, the others in handle.cc and run.cc.
#include <dlfcn.h>

#include "environment.h"
#include "js-values.h"
#include "../engine/kernel-choice.h"
#include "../engine/pool.h"
#include "../engine/step-job.h"

namespace bitnet::node {
namespace {

// Must equal that of src/binding.ts. To be raised when the encoding of programs, steps or results changes.
constexpr int encodingVersion = 7;

// Node unloads an addon with the last worker that used it, but the pool's threads outlive every worker: stay loaded.
void pinLibrary() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&pinLibrary), &info) && info.dli_fname) dlopen(info.dli_fname, RTLD_LAZY | RTLD_NODELETE);
}

// (forced?, corrupted?) → { isa, rejected: [{ isa, reason }] }
napi_value selectKernels(napi_env env, napi_callback_info info) {
  const js::Arguments<2> args(env, info);
  Array<char> forced, corrupted;
  if (!js::isNullish(env, args[0]) && !js::readString(env, args[0], forced)) return nullptr;
  if (!js::isNullish(env, args[1]) && !js::readString(env, args[1], corrupted)) return nullptr;
  KernelChoice choice;
  Failure failure;
  if (!chooseKernels(forced.data(), corrupted.data(), choice, failure)) return js::throwFailure(env, failure);
  napi_value result = nullptr, list = nullptr;
  napi_create_object(env, &result);
  napi_create_array(env, &list);
  for (int i = 0; i < choice.nRejected; i++) {
    napi_value rejected = nullptr;
    napi_create_object(env, &rejected);
    js::setProperty(env, rejected, "isa", js::string(env, choice.rejected[i].isa));
    js::setProperty(env, rejected, "reason", js::string(env, choice.rejected[i].reason));
    napi_set_element(env, list, static_cast<uint32_t>(i), rejected);
  }
  js::setProperty(env, result, "isa", js::string(env, choice.kernels->isa));
  js::setProperty(env, result, "rejected", list);
  return result;
}

// () → [{ isa, rejected: reason | null, stepsRun }] for every instruction set of this architecture, best first
napi_value variants(napi_env env, napi_callback_info) {
  napi_value list = nullptr;
  napi_create_array(env, &list);
  int count;
  const Variant* all = kernelVariants(&count);
  for (int i = 0; i < count && i < maxVariants; i++) {
    char text[160];
    napi_value variant = nullptr, reason = nullptr;
    napi_create_object(env, &variant);
    if (whyRejected(i, text, sizeof text)) {
      reason = js::string(env, text);
    } else {
      napi_get_null(env, &reason);
    }
    js::setProperty(env, variant, "isa", js::string(env, all[i].isa));
    js::setProperty(env, variant, "rejected", reason);
    js::setProperty(env, variant, "stepsRun", js::number(env, static_cast<double>(StepJob::stepsRun(all[i].isa))));
    napi_set_element(env, list, static_cast<uint32_t>(i), variant);
  }
  return list;
}

// (threads) → threads that a step may have; 0 when no thread could be started
napi_value reserveThreads(napi_env env, napi_callback_info info) {
  const js::Arguments<1> args(env, info);
  int32_t threads;
  if (!js::readInt(env, args[0], &threads)) return nullptr;
  return js::number(env, Pool::instance().reserve(threads));
}

// () → [count, bytes] of native allocations that are alive
napi_value allocations(napi_env env, napi_callback_info) {
  const LiveAllocations live = liveAllocations();
  napi_value list = nullptr;
  napi_create_array_with_length(env, 2, &list);
  napi_set_element(env, list, 0, js::number(env, static_cast<double>(live.count)));
  napi_set_element(env, list, 1, js::number(env, static_cast<double>(live.bytes)));
  return list;
}

napi_value initialise(napi_env env, napi_value exports) {
  pinLibrary();
  if (!openEnvironment(env)) return nullptr;
  constexpr struct {
    const char* name;
    napi_callback function;
  } functions[] = {
      {"selectKernels", selectKernels},       {"variants", variants},       {"reserveThreads", reserveThreads},
      {"allocations", allocations},           {"create", createExecutable}, {"fillSource", fillSource},
      {"shareSource", shareSource},           {"finish", finishExecutable}, {"run", runStep},
      {"releasePages", releasePages},         {"memory", memoryOf},         {"dispose", disposeExecutable},
      {"readBandwidth", readBandwidth},
  };
  for (const auto& entry : functions) {
    napi_value function = nullptr;
    if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.function, nullptr, &function) != napi_ok) return nullptr;
    js::setProperty(env, exports, entry.name, function);
  }
  js::setProperty(env, exports, "encodingVersion", js::number(env, encodingVersion));
  return exports;
}

}  // namespace
}  // namespace bitnet::node

NAPI_MODULE_INIT() { return bitnet::node::initialise(env, exports); }
