// Reading JavaScript arguments and making JavaScript values, over the C interface of Node-API. A reader that returns false has left an
// exception pending.
#pragma once
#include <node_api.h>

#include <cstddef>
#include <cstdint>

#include "../engine/allocations.h"
#include "../engine/failure.h"

namespace bitnet::node {

// The addon is about nothing else.
using namespace engine;

}  // namespace bitnet::node

namespace bitnet::node::js {

// Sets a pending Error whose `code` is the failure's. Always null, so that a function can end in `return throwFailure(…)`.
napi_value throwFailure(napi_env env, const Failure& failure);
napi_value throwInvalid(napi_env env, const char* what);
// The same for functions that tell of success; always false.
bool rejectInvalid(napi_env env, const char* what);

// The arguments of a call; missing ones are undefined.
template <size_t n>
struct Arguments {
  napi_value values[n];
  Arguments(napi_env env, napi_callback_info info) {
    size_t count = n;
    napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  }
  napi_value operator[](size_t i) const { return values[i]; }
};

bool isNullish(napi_env env, napi_value value);
bool readInt(napi_env env, napi_value value, int32_t* out);
bool readDouble(napi_env env, napi_value value, double* out);
// Zero-terminated.
bool readString(napi_env env, napi_value value, Array<char>& out);

struct Bytes {
  void* data;
  size_t length;  // elements
};
bool readArray(napi_env env, napi_value value, napi_typedarray_type type, Bytes* out);
bool readListLength(napi_env env, napi_value list, uint32_t* out);

napi_value number(napi_env env, double value);
napi_value string(napi_env env, const char* text);
void setProperty(napi_env env, napi_value object, const char* name, napi_value value);
// { code, message, op, row }
napi_value failureObject(napi_env env, const Failure& failure);

}  // namespace bitnet::node::js
