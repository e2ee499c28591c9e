#include "environment.h"

#include "js-values.h"
#include "../engine/pool.h"

namespace bitnet::node {
namespace {

// Runs before the environment takes the thread-safe function away, because it was registered after that was made.
void closeEnvironment(void* data) {
  Environment* environment = static_cast<Environment*>(data);
  environment->closing.store(true);
  Pool::instance().cancel(environment);
}

void freeEnvironment(napi_env, void* data, void*) { delete static_cast<Environment*>(data); }

}  // namespace

void Environment::addPending(napi_env env) {
  if (nPending++ == 0) napi_ref_threadsafe_function(env, toJavaScript);
}

void Environment::removePending(napi_env env) {
  if (--nPending == 0) napi_unref_threadsafe_function(env, toJavaScript);
}

Environment* openEnvironment(napi_env env) {
  Environment* environment = new (std::nothrow) Environment;
  napi_value name = js::string(env, "bitnet");
  if (!environment || napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, completeStep,
                                                      &environment->toJavaScript) != napi_ok) {
    delete environment;
    napi_throw_error(env, codeName(Code::OutOfMemory), "the native backend could not be set up");
    return nullptr;
  }
  napi_unref_threadsafe_function(env, environment->toJavaScript);
  napi_add_env_cleanup_hook(env, closeEnvironment, environment);
  napi_set_instance_data(env, environment, freeEnvironment, nullptr);
  return environment;
}

Environment* environmentOf(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return static_cast<Environment*>(data);
}

}  // namespace bitnet::node
