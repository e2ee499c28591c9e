// The Node-API module of the trainer: one synchronous function per operation, over typed arrays whose sizes its only caller has checked
// (src/kernels/native-kernels.ts). Functions return true, a number, or false when memory is short or a number is not finite.
#include <dlfcn.h>
#include <node_api.h>

#include <mutex>

#include "../engine/operations.h"
#include "../engine/team.h"

namespace bitnet::train {
namespace {

// Must equal that of src/kernels/native-kernels.ts. To be raised when a function's arguments change.
constexpr int bindingVersion = 3;

// Each environment has a thread and a choice of its own.
thread_local const TrainKernels* kernels = nullptr;
// The team and the scratch of operations are the process's: environments take turns, an operation each.
std::mutex turn;

class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = maxCount;
    napi_get_cb_info(env, info, &count, values_, nullptr, nullptr);
  }
  // The next argument as …
  const float* floats() { return static_cast<const float*>(array()); }
  float* out() { return static_cast<float*>(array()); }
  const int32_t* ints() { return static_cast<const int32_t*>(array()); }
  double number() {
    double value = 0;
    napi_get_value_double(env_, values_[next_++], &value);
    return value;
  }
  int integer() { return static_cast<int>(number()); }
  bool flag() { return number() != 0; }
  // Elements of the last array.
  size_t length() const { return length_; }

 private:
  static constexpr size_t maxCount = 20;
  // Null for what is no typed array.
  void* array() {
    void* data = nullptr;
    napi_typedarray_type type;
    length_ = 0;
    if (napi_get_typedarray_info(env_, values_[next_++], &type, &length_, &data, nullptr, nullptr) != napi_ok) return nullptr;
    return data;
  }
  napi_env env_;
  napi_value values_[maxCount] = {};
  size_t next_ = 0;
  size_t length_ = 0;
};

using Call = double (*)(Arguments&);

template <Call call>
napi_value exported(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  napi_value result = nullptr;
  double answer;
  {
    const std::lock_guard<std::mutex> lock(turn);
    answer = call(args);
  }
  napi_create_double(env, answer, &result);
  return result;
}

double doProduct(Arguments& a) {
  Product p = {};
  p.a = a.floats();
  p.b = a.floats();
  p.out = a.out();
  p.m = a.integer();
  p.n = a.integer();
  p.k = a.integer();
  p.transA = a.flag();
  p.transB = a.flag();
  p.adds = a.flag();
  p.factor = static_cast<float>(a.number());
  p.rowDivisors = a.floats();
  p.innerDivisors = a.floats();
  p.isTernary = a.flag();
  p.isBrain = a.flag();
  return product(*kernels, p);
}

double doStripedProduct(Arguments& a) {
  const float *x = a.floats(), *y = a.floats();
  float* out = a.out();
  const int m = a.integer(), n = a.integer(), k = a.integer();
  stripedProduct(*kernels, x, y, out, m, n, k);
  return 1;
}

double doEmbed(Arguments& a) {
  const float* table = a.floats();
  const int32_t* ids = a.ints();
  const int rows = static_cast<int>(a.length());
  const int width = a.integer();
  embed(table, ids, rows, width, a.out());
  return 1;
}

double doEmbedGradient(Arguments& a) {
  const int32_t* ids = a.ints();
  const int rows = static_cast<int>(a.length());
  const float* dOut = a.floats();
  const int width = a.integer();
  embedGradient(ids, dOut, rows, width, a.out());
  return 1;
}

double doRmsNorm(Arguments& a) {
  const float *x = a.floats(), *weight = a.floats();
  const int width = static_cast<int>(a.length());
  const float eps = static_cast<float>(a.number());
  float *out = a.out(), *r = a.out();
  rmsNorm(*kernels, x, weight, eps, out, r, static_cast<int>(a.length()), width);
  return 1;
}

double doRmsNormGradient(Arguments& a) {
  const float *x = a.floats(), *weight = a.floats();
  const int width = static_cast<int>(a.length());
  const float* r = a.floats();
  const int rows = static_cast<int>(a.length());
  const float* dOut = a.floats();
  float *dX = a.out(), *dWeight = a.out();
  return rmsNormGradient(*kernels, x, weight, r, dOut, dX, dWeight, rows, width);
}

double doQuantise(Arguments& a) {
  const float* x = a.floats();
  const int width = a.integer();
  float *q = a.out(), *s = a.out();
  return quantise(*kernels, x, q, s, static_cast<int>(a.length()), width);
}

double doFormWeights(Arguments& a) {
  const float* master = a.floats();
  const size_t n = a.length();
  const auto form = static_cast<WeightForm>(a.integer());
  return formWeights(*kernels, master, n, form, a.out());
}

double doRope(Arguments& a) {
  float* x = a.out();
  const int32_t* starts = a.ints();
  const int nDocuments = static_cast<int>(a.length()) - 1;
  const int nHeads = a.integer(), headDim = a.integer();
  const float* table = a.floats();
  rope(*kernels, x, starts, nDocuments, nHeads, headDim, table, a.flag());
  return 1;
}

// (starts, nHeads, nKvHeads, headDim, scale, q, k, v, out, stats[, dOut, dQ, dK, dV])
template <bool isGradient>
double doAttention(Arguments& a) {
  Attention p = {};
  p.starts = a.ints();
  const int nDocuments = static_cast<int>(a.length()) - 1;
  p.nHeads = a.integer();
  p.nKvHeads = a.integer();
  p.headDim = a.integer();
  p.scale = static_cast<float>(a.number());
  p.q = a.floats();
  p.k = a.floats();
  p.v = a.floats();
  p.out = a.out();
  p.stats = a.out();
  if (isGradient) {
    p.dOut = a.floats();
    p.dQ = a.out();
    p.dK = a.out();
    p.dV = a.out();
  }
  return attention(*kernels, p, nDocuments, isGradient);
}

double doGate(Arguments& a) {
  const auto fn = static_cast<GateFn>(a.integer());
  const float *g = a.floats(), *up = a.floats();
  float* out = a.out();
  gate(*kernels, fn, g, up, out, a.length());
  return 1;
}

double doGateGradient(Arguments& a) {
  const auto fn = static_cast<GateFn>(a.integer());
  const float *g = a.floats(), *up = a.floats(), *dOut = a.floats();
  float *dGate = a.out(), *dUp = a.out();
  gateGradient(*kernels, fn, g, up, dOut, dGate, dUp, a.length());
  return 1;
}

double doAdd(Arguments& a) {
  const float *x = a.floats(), *y = a.floats();
  float* out = a.out();
  add(*kernels, x, y, out, a.length());
  return 1;
}

double doAddScaled(Arguments& a) {
  const float *x = a.floats(), *y = a.floats();
  const float factor = static_cast<float>(a.number());
  float* out = a.out();
  addScaled(*kernels, x, y, factor, out, a.length());
  return 1;
}

double doDropout(Arguments& a) {
  Dropout p = {};
  p.x = a.floats();
  const size_t n = a.length();
  p.width = a.integer();
  p.out = a.out();
  for (uint32_t* each : {&p.seed, &p.step, &p.firstCounter, &p.firstRow, &p.threshold}) *each = static_cast<uint32_t>(a.number());
  p.factor = static_cast<float>(a.number());
  p.adds = a.flag();
  dropout(*kernels, p, static_cast<int>(n / static_cast<size_t>(p.width)));
  return 1;
}

double doCrossEntropy(Arguments& a) {
  CrossEntropy p = {};
  p.logits = a.out();
  p.vocab = a.integer();
  p.labels = a.ints();
  p.weights = a.floats();
  p.losses = a.out();
  const int rows = a.integer();
  p.hasGradient = a.flag();
  p.scale = static_cast<float>(a.number());
  crossEntropy(*kernels, p, rows);
  return 1;
}

double doSumSquares(Arguments& a) {
  const float* x = a.floats();
  return kernels->sumSquares(x, a.length());
}

double doAdamw(Arguments& a) {
  Adamw p = {};
  p.weights = a.out();
  const size_t n = a.length();
  p.gradient = a.floats();
  p.m = a.out();
  p.v = a.out();
  float* const numbers[] = {&p.rate, &p.beta1, &p.beta2, &p.rest1, &p.rest2, &p.unbias1, &p.unbias2, &p.eps, &p.decay, &p.clip};
  for (float* each : numbers) *each = static_cast<float>(a.number());
  adamw(*kernels, p, n);
  return 1;
}

double doSetThreads(Arguments& a) { return Team::instance().resize(a.integer()); }

// (name | null) → the instruction set in use, or null when this one does not run here
napi_value selectKernels(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value value, result = nullptr;
  napi_get_cb_info(env, info, &count, &value, nullptr, nullptr);
  char name[32];
  size_t length = 0;
  const bool isNamed = napi_get_value_string_utf8(env, value, name, sizeof name, &length) == napi_ok;
  const TrainKernels* chosen = chooseKernels(isNamed ? name : nullptr);
  if (chosen == nullptr) {
    napi_get_null(env, &result);
    return result;
  }
  kernels = chosen;
  napi_create_string_utf8(env, chosen->isa, NAPI_AUTO_LENGTH, &result);
  return result;
}

// The team's threads outlive every environment: stay loaded.
void pinLibrary() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&pinLibrary), &info) && info.dli_fname) dlopen(info.dli_fname, RTLD_LAZY | RTLD_NODELETE);
}

napi_value init(napi_env env, napi_value exports) {
  pinLibrary();
  kernels = chooseKernels(nullptr);
  const struct {
    const char* name;
    napi_callback call;
  } functions[] = {
      {"selectKernels", selectKernels},
      {"setThreads", exported<doSetThreads>},
      {"product", exported<doProduct>},
      {"stripedProduct", exported<doStripedProduct>},
      {"embed", exported<doEmbed>},
      {"embedGradient", exported<doEmbedGradient>},
      {"rmsNorm", exported<doRmsNorm>},
      {"rmsNormGradient", exported<doRmsNormGradient>},
      {"quantise", exported<doQuantise>},
      {"formWeights", exported<doFormWeights>},
      {"rope", exported<doRope>},
      {"attention", exported<doAttention<false>>},
      {"attentionGradient", exported<doAttention<true>>},
      {"gate", exported<doGate>},
      {"gateGradient", exported<doGateGradient>},
      {"add", exported<doAdd>},
      {"addScaled", exported<doAddScaled>},
      {"dropout", exported<doDropout>},
      {"crossEntropy", exported<doCrossEntropy>},
      {"sumSquares", exported<doSumSquares>},
      {"adamw", exported<doAdamw>},
  };
  for (const auto& [name, call] : functions) {
    napi_value function = nullptr;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, call, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  }
  napi_value version = nullptr;
  napi_create_int32(env, bindingVersion, &version);
  napi_set_named_property(env, exports, "bindingVersion", version);
  return exports;
}

}  // namespace
}  // namespace bitnet::train

NAPI_MODULE_INIT() { return bitnet::train::init(env, exports); }
