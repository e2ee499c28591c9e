// The yardstick of benchmarks: how fast this machine reads memory when it does nothing else.
#pragma once
#include <node_api.h>

namespace bitnet::addon {

// (threads, bytes, repeats) → a promise of bytes per second: the median over `repeats` passes in which `threads` threads together
// read `bytes` bytes once; 0 when there is no memory for them.
napi_value readBandwidth(napi_env env, napi_callback_info info);

}  // namespace bitnet::addon
