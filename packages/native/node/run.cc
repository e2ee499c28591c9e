// A step from the JavaScript thread to the pool and back.
#include <cstring>

#include "environment.h"
#include "js-values.h"
#include "../engine/pool.h"
#include "../engine/step-job.h"

namespace bitnet::node {
namespace {

class RunJob : public StepJob {
 public:
  explicit RunJob(Handle& handle)
      : StepJob(*handle.executable, handle.environment, handle.environment->closing), handle_(handle), environment_(*handle.environment) {
    handle_.hold();
  }
  ~RunJob() override { handle_.release(); }

  // Makes the promise and keeps the handle's object alive until the step is complete.
  bool start(napi_env env, napi_value object, napi_value* promise) {
    if (napi_create_reference(env, object, 1, &object_) != napi_ok) return false;
    if (napi_create_promise(env, &deferred_, promise) == napi_ok) return true;
    napi_delete_reference(env, object_);
    return false;
  }

  void done(bool) override {
    // An environment that is going away takes no more calls; its promise is gone with it.
    if (environment_.closing.load() || napi_call_threadsafe_function(environment_.toJavaScript, this, napi_tsfn_nonblocking) != napi_ok)
      destroy(this);
  }

  void complete(napi_env env) {
    handle_.busy = false;
    handle_.failed |= failure().code == Code::BackendFailed;
    environment_.removePending(env);
    napi_resolve_deferred(env, deferred_, outcome(env));
    napi_delete_reference(env, object_);
  }

 private:
  napi_value outcome(napi_env env) {
    if (failure().code != Code::None) return js::failureObject(env, failure());
    void* data = nullptr;
    napi_value buffer = nullptr;
    if (napi_create_arraybuffer(env, result().bytes(), &data, &buffer) != napi_ok) {
      napi_value ignored;
      napi_get_and_clear_last_exception(env, &ignored);
      failure_.set(Code::OutOfMemory, "no memory for a result of %zu bytes", result().bytes());
      return js::failureObject(env, failure());
    }
    if (result().bytes() > 0) std::memcpy(data, result().data(), result().bytes());
    return buffer;
  }

  Handle& handle_;
  Environment& environment_;
  napi_ref object_ = nullptr;
  napi_deferred deferred_ = nullptr;
};

}  // namespace

void completeStep(napi_env env, napi_value, void*, void* data) {
  RunJob* job = static_cast<RunJob*>(data);
  if (env) job->complete(env);
  destroy(job);
}

// (handle, words) → Promise<ArrayBuffer | failure>
napi_value runStep(napi_env env, napi_callback_info info) {
  const js::Arguments<2> args(env, info);
  Handle* handle = idleHandle(env, args[0]);
  js::Bytes words;
  if (!handle || !js::readArray(env, args[1], napi_int32_array, &words)) return nullptr;
  if (!handle->ready) return js::throwInvalid(env, "the executable is not loaded");
  Failure failure;
  if (handle->failed) {
    failure.set(Code::BackendFailed, "a model file changed or was truncated while in use; load it again");
    return js::throwFailure(env, failure);
  }
  RunJob* job = create<RunJob>(*handle);
  napi_value promise = nullptr;
  if (!job) failure.set(Code::OutOfMemory, "no memory for a step");
  if (job && !job->prepare(static_cast<const int32_t*>(words.data), words.length)) failure = job->failure();
  if (failure.code == Code::None && !job->start(env, args[0], &promise)) failure.set(Code::OutOfMemory, "no memory for a step");
  if (failure.code != Code::None) {
    destroy(job);
    return js::throwFailure(env, failure);
  }
  handle->busy = true;
  handle->environment->addPending(env);
  Pool::instance().submit(job);
  return promise;
}

}  // namespace bitnet::node
