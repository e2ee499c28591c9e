#include "bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "../kernels/bare-read.h"
#include "allocations.h"
#include "js-values.h"

namespace bitnet::addon {
namespace {

constexpr int32_t maxThreads = 256;
constexpr int32_t maxRepeats = 100;

struct Measurement {
  int32_t threads = 1, repeats = 1;
  size_t words = 0;
  double bytesPerSecond = 0;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
};

// Threads meet by counting, so that all of them read at the same time.
void measure(napi_env, void* data) {
  auto& m = *static_cast<Measurement*>(data);
  Array<uint64_t> memory;
  Array<double> seconds;
  if (!memory.allocate(m.words) || !seconds.allocate(static_cast<size_t>(m.repeats))) return;
  for (size_t i = 0; i < m.words; i++) memory[i] = i;  // every page, so that none is the shared zero page
  std::atomic<int32_t> arrived{0};
  std::atomic<uint64_t> sink{0};
  const auto meet = [&](int32_t round) {
    arrived.fetch_add(1);
    while (arrived.load() < (round + 1) * m.threads) std::this_thread::yield();
  };
  const size_t share = m.words / static_cast<size_t>(m.threads);
  const auto read = [&](int32_t thread) {
    for (int32_t r = 0; r < m.repeats; r++) {
      meet(2 * r);
      const auto start = std::chrono::steady_clock::now();
      sink += sumWords(memory.data() + share * static_cast<size_t>(thread), share);
      meet(2 * r + 1);
      if (thread == 0) seconds[static_cast<size_t>(r)] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
  };
  std::thread helpers[maxThreads];
  for (int32_t t = 1; t < m.threads; t++) helpers[t] = std::thread(read, t);
  read(0);
  for (int32_t t = 1; t < m.threads; t++) helpers[t].join();
  std::sort(seconds.data(), seconds.data() + seconds.size());
  m.bytesPerSecond = static_cast<double>(share * static_cast<size_t>(m.threads) * sizeof(uint64_t)) / seconds[seconds.size() / 2];
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
  if (threads < 1 || threads > maxThreads || repeats < 1 || repeats > maxRepeats || !(bytes >= 4096 && bytes <= 1e12))
    return js::throwInvalid(env, "readBandwidth: threads, bytes or repeats out of range");
  auto* const m = create<Measurement>();
  if (!m) return js::throwInvalid(env, "readBandwidth: no memory");
  m->threads = threads;
  m->repeats = repeats;
  m->words = static_cast<size_t>(bytes) / sizeof(uint64_t);
  napi_value promise = nullptr, name = nullptr;
  napi_create_promise(env, &m->deferred, &promise);
  napi_create_string_utf8(env, "bitnet:readBandwidth", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, nullptr, name, measure, complete, m, &m->work);
  napi_queue_async_work(env, m->work);
  return promise;
}

}  // namespace bitnet::addon
