// What a training step remembers from its forward pass: the active inputs of every layer.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace sparsefield {

// The active inputs of one layer in a run of samples, sample after sample, ascending.
struct TapePart {
  std::unique_ptr<uint32_t[]> end;     // [samples]: where the entries of each end
  std::unique_ptr<uint16_t[]> narrow;  // the indices, where the width allows
  std::unique_ptr<uint32_t[]> wide;    // or these
  std::unique_ptr<float[]> value;
  std::unique_ptr<float[]> gradient;  // once backward has passed: of h; 0 for a clipped input
  bool finite = true;                 // every value is

  uint32_t begin(int sample) const { return sample ? end[sample - 1] : 0; }
  // Calls f with the indices.
  template <class Then>
  auto with_index(Then f) const {
    return narrow ? f(static_cast<const uint16_t*>(narrow.get()))
                  : f(static_cast<const uint32_t*>(wide.get()));
  }
};

// Each part is of samples [batch * p / parts, batch * (p + 1) / parts), and one thread's.
struct Tape {
  Tape() = default;
  Tape(const Tape&) = delete;
  int batch = 0, parts = 0;
  std::vector<TapePart> held;  // [layers, parts]

  TapePart& at(int layer, int p) { return held[static_cast<std::size_t>(layer) * parts + p]; }
  const TapePart& at(int layer, int p) const { return held[static_cast<std::size_t>(layer) * parts + p]; }
  int first(int p) const { return static_cast<int>(int64_t{batch} * p / parts); }
  int samples(int p) const { return first(p + 1) - first(p); }

  // Bytes of the lists.
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < held.size(); ++i) {
      const TapePart& part = held[i];
      const auto n = static_cast<std::size_t>(samples(static_cast<int>(i % static_cast<std::size_t>(parts))));
      if (!part.end || !n) continue;
      const std::size_t entry = 4u + (part.narrow ? 2u : 4u) + (part.gradient ? 4u : 0u);
      sum += 4 * n + part.end[n - 1] * entry;
    }
    return sum;
  }
};

}  // namespace sparsefield
