// What one JavaScript environment (the main thread or a worker) has of this addon: the way back to its thread, and the executables that
// it holds. Environments come and go while the pool stays.
#pragma once
#include <node_api.h>

#include <atomic>

#include "../engine/executable.h"

namespace bitnet::node {

using engine::Executable;

struct Environment {
  napi_threadsafe_function toJavaScript = nullptr;
  // Set as the environment goes away: its jobs end early and call back no more.
  std::atomic<bool> closing{false};
  int nPending = 0;

  // While something is pending the event loop stays alive.
  void addPending(napi_env env);
  void removePending(napi_env env);
};

// Creates the environment's record and arranges that its jobs have ended before it goes away. Null with an exception pending.
Environment* openEnvironment(napi_env env);
Environment* environmentOf(napi_env env);

// What a JavaScript handle object wraps. Its fields are used on the JavaScript thread only. The object holds it, and so does whoever loads
// or runs it elsewhere; the last to release it frees it and its executable.
struct Handle {
  Handle(Environment* environment, Executable* executable) : environment(environment), executable(executable) {}

  Environment* environment;
  Executable* executable;  // null once disposed
  std::atomic<int> holders{1};
  bool ready = false;   // finished loading
  bool busy = false;    // loads or runs
  bool failed = false;  // a mapped file changed

  void hold() { holders.fetch_add(1, std::memory_order_relaxed); }
  void release();
};

// The handle of an argument, or null with an exception pending when it is none, disposed, or busy.
Handle* idleHandle(napi_env env, napi_value value);

// Exported functions.
napi_value createExecutable(napi_env env, napi_callback_info info);
napi_value fillSource(napi_env env, napi_callback_info info);
napi_value shareSource(napi_env env, napi_callback_info info);
napi_value finishExecutable(napi_env env, napi_callback_info info);
napi_value runStep(napi_env env, napi_callback_info info);
napi_value releasePages(napi_env env, napi_callback_info info);
napi_value memoryOf(napi_env env, napi_callback_info info);
napi_value disposeExecutable(napi_env env, napi_callback_info info);
// (threads, bytes, repeats) → Promise<bytes per second>
napi_value readBandwidth(napi_env env, napi_callback_info info);

// Completes a step on the JavaScript thread; `env` is null when the environment is gone.
void completeStep(napi_env env, napi_value callback, void* context, void* job);

}  // namespace bitnet::node
