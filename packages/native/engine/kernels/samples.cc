#include "samples.h"

#include "half.h"

namespace bitnet {
namespace {

// PCG-XSH-RR 32 (O'Neill 2014).
class Random {
 public:
  explicit Random(uint32_t seed) : state_(seed * 2654435769ull + 1) { next(); }

  uint32_t next() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    const auto word = static_cast<uint32_t>((state_ >> 18 ^ state_) >> 27);
    const auto rotation = static_cast<uint32_t>(state_ >> 59);
    return word >> rotation | word << (-rotation & 31);
  }

  // In (−8, 8); every sixteenth is far smaller.
  float number() {
    const uint32_t word = next();
    const float x = static_cast<float>(static_cast<int32_t>(word)) * 0x1p-28f;
    return (word & 15) == 0 ? x * 0x1p-12f : x;
  }

 private:
  uint64_t state_;
};

float sampleFloat(SampleKind kind, Random& random) {
  const uint32_t word = random.next();
  switch (kind) {
    case SampleKind::Random:
      return random.number();
    case SampleKind::Zeros:
      return 0.0f;
    case SampleKind::Ones:
      return (word & 1) == 0 ? 1.0f : -1.0f;
    case SampleKind::Extremes: {
      constexpr float sizes[] = {0x1p-40f, 0x1p-3f, 1.0f, 90.0f, 0x1p20f, 0x1.fffffep-127f, 0x1p-140f, 60000.0f};
      return (word & 8) == 0 ? sizes[word & 7] : -sizes[word & 7];
    }
  }
  return 0.0f;
}

int8_t sampleActivation(SampleKind kind, uint32_t word) {
  switch (kind) {
    case SampleKind::Random:
      return static_cast<int8_t>(word);
    case SampleKind::Zeros:
      return 0;
    case SampleKind::Ones:
      return (word & 1) == 0 ? 1 : -1;
    case SampleKind::Extremes:
      return (word & 63) == 0 ? 127 : -128;
  }
  return 0;
}

uint8_t sampleByte(SampleKind kind, uint32_t word) {
  switch (kind) {
    case SampleKind::Random:
      return static_cast<uint8_t>(word);
    case SampleKind::Zeros:
      return 0x55;
    case SampleKind::Ones:
      return word & 0xaa;
    case SampleKind::Extremes:
      return 0xff;
  }
  return 0;
}

}  // namespace

SampleBuffers::SampleBuffers(size_t elements, SampleKind kind, uint32_t seed) {
  Random random(seed);
  for (size_t i = 0; i < elements; i++) {
    a_.push_back(sampleFloat(kind, random));
    b_.push_back(sampleFloat(kind, random));
    const float x = sampleFloat(kind, random);
    halves_.push_back(floatToHalf(x));
    brains_.push_back(static_cast<uint16_t>(floatBits(x) >> 16));
    const uint32_t word = random.next();
    bytes_.push_back(sampleByte(kind, word >> 8));
    activations_.push_back(sampleActivation(kind, word));
    ints_.push_back(kind == SampleKind::Extremes ? static_cast<int32_t>(word) : static_cast<int32_t>(word) >> 12);
  }
}

Samples SampleBuffers::samples() const {
  return {a_.data(), b_.data(), halves_.data(), brains_.data(), bytes_.data(), activations_.data(), ints_.data()};
}

}  // namespace bitnet
