// The dot product of bytes of AVX-512 VNNI. Include after lanes.h.
#pragma once

namespace bitnet::train {
namespace {

// Four products of an unsigned and a signed byte added to every lane.
// As assembly, since compilers (GCC 12) move the sums to and fro around the intrinsic.
inline I32x16 dotBytes(I32x16 sums, I32x16 unsignedBytes, I32x16 signedBytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(unsignedBytes), "v"(signedBytes));
  return sums;
}

}  // namespace
}  // namespace bitnet::train
