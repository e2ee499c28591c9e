// Executables as JavaScript sees them: opaque objects that wrap a Handle, made, filled, finished and disposed of here.
#include <cstring>

#include "environment.h"
#include "js-values.h"
#include "../engine/kernel-choice.h"

namespace bitnet::node {
namespace {

constexpr napi_type_tag handleTag = {0x6269746e65742e74, 0x732f657865637574};

void finalizeHandle(napi_env, void* data, void*) { static_cast<Handle*>(data)->release(); }

Handle* handleOf(napi_env env, napi_value value) {
  bool tagged = false;
  void* data = nullptr;
  if (napi_check_object_type_tag(env, value, &handleTag, &tagged) == napi_ok && tagged && napi_unwrap(env, value, &data) == napi_ok)
    return static_cast<Handle*>(data);
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) js::throwInvalid(env, "expected an executable");
  return nullptr;
}

// The arguments of createExecutable as C++ reads them.
struct Encoded {
  js::Bytes words;
  Array<ScaleValues> scales;
  Array<const char*> paths;
  Array<char>* pathTexts = nullptr;

  ~Encoded() { delete[] pathTexts; }
};

bool readScales(napi_env env, napi_value list, Encoded& encoded) {
  uint32_t n;
  if (!js::readListLength(env, list, &n)) return false;
  if (!encoded.scales.allocate(n)) return js::rejectInvalid(env, "too many scales");
  for (uint32_t i = 0; i < n; i++) {
    napi_value item;
    js::Bytes values;
    if (napi_get_element(env, list, i, &item) != napi_ok || !js::readArray(env, item, napi_float32_array, &values)) return false;
    encoded.scales[i] = {static_cast<const float*>(values.data), values.length};
  }
  return true;
}

bool readPaths(napi_env env, napi_value list, Encoded& encoded) {
  uint32_t n;
  if (!js::readListLength(env, list, &n)) return false;
  encoded.pathTexts = new (std::nothrow) Array<char>[n];
  if (!encoded.pathTexts || !encoded.paths.allocate(n)) return js::rejectInvalid(env, "too many paths");
  for (uint32_t i = 0; i < n; i++) {
    napi_value path;
    if (napi_get_element(env, list, i, &path) != napi_ok) return false;
    if (js::isNullish(env, path)) continue;
    if (!js::readString(env, path, encoded.pathTexts[i])) return false;
    encoded.paths[i] = encoded.pathTexts[i].data();
  }
  return true;
}

bool readLimits(napi_env env, napi_value value, LoadLimits& limits) {
  js::Bytes words;
  if (!js::readArray(env, value, napi_int32_array, &words)) return false;
  Failure failure;
  const bool isWhole = words.length == wordsOf<LoadLimits>;
  if (readRecord(isWhole ? static_cast<const int32_t*>(words.data) : nullptr, "limits", limits, failure)) return true;
  js::throwFailure(env, failure);
  return false;
}

napi_value wrapExecutable(napi_env env, Executable* executable) {
  // Not counted: it lives as long as the garbage collector lets the object.
  Handle* handle = new (std::nothrow) Handle(environmentOf(env), executable);
  napi_value object = nullptr;
  if (handle && napi_create_object(env, &object) == napi_ok && napi_wrap(env, object, handle, finalizeHandle, nullptr, nullptr) == napi_ok) {
    // From here on the object owns it, whatever becomes of the tag.
    napi_type_tag_object(env, object, &handleTag);
    return object;
  }
  destroy(executable);
  delete handle;
  napi_throw_error(env, codeName(Code::OutOfMemory), "no memory for an executable");
  return nullptr;
}

}  // namespace

void Handle::release() {
  if (holders.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  destroy(executable);
  delete this;
}

Handle* idleHandle(napi_env env, napi_value value) {
  Handle* handle = handleOf(env, value);
  if (!handle) return nullptr;
  if (handle->busy) {
    js::throwInvalid(env, "the executable is busy");
    return nullptr;
  }
  if (!handle->executable) {
    napi_throw_error(env, codeName(Code::Disposed), "the executable is disposed");
    return nullptr;
  }
  return handle;
}

// (isa, words, scales, paths, limits) → handle
napi_value createExecutable(napi_env env, napi_callback_info info) {
  const js::Arguments<5> args(env, info);
  Array<char> isa;
  Encoded encoded;
  LoadLimits limits = {};
  if (!js::readString(env, args[0], isa) || !js::readArray(env, args[1], napi_int32_array, &encoded.words) ||
      !readScales(env, args[2], encoded) || !readPaths(env, args[3], encoded) || !readLimits(env, args[4], limits))
    return nullptr;
  const Kernels* kernels = provenKernels(isa.data());
  if (!kernels) return js::throwInvalid(env, "this instruction set has not been selected");
  Executable* executable = engine::create<Executable>(kernels, limits);
  Failure failure;
  const EncodedProgram program = {static_cast<const int32_t*>(encoded.words.data),
                                  encoded.words.length,
                                  encoded.scales.data(),
                                  encoded.scales.size(),
                                  encoded.paths.data(),
                                  encoded.paths.size()};
  if (!executable) failure.set(Code::OutOfMemory, "no memory for an executable");
  if (executable && executable->create(program, failure)) return wrapExecutable(env, executable);
  destroy(executable);
  return js::throwFailure(env, failure);
}

// (handle, source, offset, bytes)
napi_value fillSource(napi_env env, napi_callback_info info) {
  const js::Arguments<4> args(env, info);
  Handle* handle = idleHandle(env, args[0]);
  int32_t source;
  double offset;
  js::Bytes bytes;
  if (!handle || !js::readInt(env, args[1], &source) || !js::readDouble(env, args[2], &offset) ||
      !js::readArray(env, args[3], napi_uint8_array, &bytes))
    return nullptr;
  Failure failure;
  if (handle->ready || source < 0 || !(offset >= 0 && offset <= 9007199254740991.0)) return js::throwInvalid(env, "this is not a source to fill");
  if (!handle->executable->fillSource(static_cast<size_t>(source), static_cast<uint64_t>(offset), bytes.data, bytes.length, failure))
    return js::throwFailure(env, failure);
  return nullptr;
}

// (handle, source, bytes): the bytes must lie in a SharedArrayBuffer, which cannot be detached. The handle keeps them alive.
napi_value shareSource(napi_env env, napi_callback_info info) {
  const js::Arguments<3> args(env, info);
  Handle* handle = idleHandle(env, args[0]);
  int32_t source;
  js::Bytes bytes;
  if (!handle || !js::readInt(env, args[1], &source) || !js::readArray(env, args[2], napi_uint8_array, &bytes)) return nullptr;
  Failure failure;
  if (handle->ready || source < 0) return js::throwInvalid(env, "this is not a source to share");
  if (napi_set_element(env, args[0], static_cast<uint32_t>(source), args[2]) != napi_ok) return nullptr;
  if (!handle->executable->shareSource(static_cast<size_t>(source), bytes.data, bytes.length, failure)) return js::throwFailure(env, failure);
  return nullptr;
}

// ---- finishing, off the JavaScript thread ----

namespace {

struct Finish {
  Handle* handle;
  napi_async_work work;
  napi_deferred deferred;
  napi_ref object;  // keeps the handle's object, and with it shared sources
  Failure failure;
};

void executeFinish(napi_env, void* data) {
  Finish* finish = static_cast<Finish*>(data);
  finish->handle->executable->finish(finish->failure);
}

void completeFinish(napi_env env, napi_status, void* data) {
  Finish* finish = static_cast<Finish*>(data);
  Handle* handle = finish->handle;
  handle->busy = false;
  handle->ready = finish->failure.code == Code::None;
  napi_value outcome = nullptr;
  if (handle->ready) {
    napi_get_undefined(env, &outcome);
  } else {
    outcome = js::failureObject(env, finish->failure);
  }
  napi_resolve_deferred(env, finish->deferred, outcome);
  napi_delete_reference(env, finish->object);
  napi_delete_async_work(env, finish->work);
  destroy(finish);
  handle->release();
}

}  // namespace

// (handle) → Promise<undefined | failure>
napi_value finishExecutable(napi_env env, napi_callback_info info) {
  const js::Arguments<1> args(env, info);
  Handle* handle = idleHandle(env, args[0]);
  if (!handle) return nullptr;
  if (handle->ready) return js::throwInvalid(env, "the executable is already loaded");
  Finish* finish = create<Finish>(Finish{handle, nullptr, nullptr, nullptr, {}});
  napi_value promise = nullptr;
  if (!finish || napi_create_promise(env, &finish->deferred, &promise) != napi_ok ||
      napi_create_reference(env, args[0], 1, &finish->object) != napi_ok ||
      napi_create_async_work(env, nullptr, js::string(env, "bitnet load"), executeFinish, completeFinish, finish, &finish->work) != napi_ok ||
      napi_queue_async_work(env, finish->work) != napi_ok) {
    destroy(finish);
    napi_throw_error(env, codeName(Code::OutOfMemory), "the executable could not be loaded");
    return nullptr;
  }
  handle->busy = true;
  handle->hold();
  return promise;
}

// ---- pages, memory, end ----

// (handle, Int32Array of pages)
napi_value releasePages(napi_env env, napi_callback_info info) {
  const js::Arguments<2> args(env, info);
  Handle* handle = idleHandle(env, args[0]);
  js::Bytes pages;
  if (!handle || !js::readArray(env, args[1], napi_int32_array, &pages)) return nullptr;
  KvArena& arena = handle->executable->arena();
  const int32_t* page = static_cast<const int32_t*>(pages.data);
  for (size_t i = 0; i < pages.length; i++)
    if (page[i] < 0 || page[i] >= handle->executable->limits().nPages) return js::throwInvalid(env, "a page is not in the arena");
  for (size_t i = 0; handle->ready && i < pages.length; i++) arena.release(page[i]);
  return nullptr;
}

// (handle) → the words of EngineNumbers; also while a step runs
napi_value memoryOf(napi_env env, napi_callback_info info) {
  const js::Arguments<1> args(env, info);
  Handle* handle = handleOf(env, args[0]);
  if (!handle) return nullptr;
  if (!handle->executable || !handle->ready) return js::throwInvalid(env, "the executable is not loaded");
  const EngineNumbers numbers = handle->executable->numbers();
  void* data = nullptr;
  napi_value buffer = nullptr;
  if (napi_create_arraybuffer(env, sizeof numbers, &data, &buffer) == napi_ok) std::memcpy(data, &numbers, sizeof numbers);
  return buffer;
}

// (handle): frees everything now; a disposed handle stays so.
napi_value disposeExecutable(napi_env env, napi_callback_info info) {
  const js::Arguments<1> args(env, info);
  Handle* handle = handleOf(env, args[0]);
  if (!handle || !handle->executable) return nullptr;
  if (!idleHandle(env, args[0])) return nullptr;
  destroy(handle->executable);
  handle->executable = nullptr;
  return nullptr;
}

}  // namespace bitnet::node
