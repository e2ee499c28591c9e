// Measures the machine's memory off the JavaScript thread.
#include "../engine/bandwidth.h"
#include "environment.h"
#include "js-values.h"

namespace bitnet::node {
namespace {

struct Measurement {
  BandwidthTask task;
  double bytesPerSecond = 0;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
};

void execute(napi_env, void* data) {
  auto& m = *static_cast<Measurement*>(data);
  m.bytesPerSecond = measureBandwidth(m.task);
}

void complete(napi_env env, napi_status, void* data) {
  auto* const m = static_cast<Measurement*>(data);
  napi_resolve_deferred(env, m->deferred, js::number(env, m->bytesPerSecond));
  napi_delete_async_work(env, m->work);
  destroy(m);
}

}  // namespace

napi_value readBandwidth(napi_env env, napi_callback_info info) {
  const js::Arguments<3> args(env, info);
  int32_t threads, repeats;
  double bytes;
  if (!js::readInt(env, args[0], &threads) || !js::readDouble(env, args[1], &bytes) || !js::readInt(env, args[2], &repeats)) return nullptr;
  if (threads < 1 || threads > maxBandwidthThreads || repeats < 1 || repeats > maxBandwidthRepeats || !(bytes >= 4096 && bytes <= 1e12))
    return js::throwInvalid(env, "readBandwidth: threads, bytes or repeats out of range");
  auto* const m = create<Measurement>();
  if (!m) return js::throwInvalid(env, "readBandwidth: no memory");
  m->task = {threads, repeats, static_cast<size_t>(bytes)};
  napi_value promise = nullptr;
  napi_create_promise(env, &m->deferred, &promise);
  napi_create_async_work(env, nullptr, js::string(env, "bitnet:readBandwidth"), execute, complete, m, &m->work);
  napi_queue_async_work(env, m->work);
  return promise;
}

}  // namespace bitnet::node
