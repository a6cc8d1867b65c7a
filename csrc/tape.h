// What a training step remembers from its forward pass: the active inputs of every layer.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "window.h"

namespace sparsefield {

// One site at which an input was active. A site is a sample, or a pixel of one.
struct Use {
  uint32_t site;
  float value;
};

// The active inputs of one layer at a run of sites, input after input. Of input k come first those that pass
// a gradient on, from begin[2 k] on, and then the clipped, from begin[2 k + 1] on.
struct Uses {
  int inputs = 0;
  std::unique_ptr<uint32_t[]> begin;  // [2 * inputs + 1]
  std::unique_ptr<Use[]> use;
  std::unique_ptr<float[]> gradient;  // of h, where one is passed on

  std::size_t bytes() const {
    const std::size_t rows = 2 * static_cast<std::size_t>(inputs);
    return begin ? 4 * (rows + 1) + begin[rows] * (sizeof(Use) + 4u) : 0;
  }
};

// The same site after site, ascending.
struct TapePart {
  std::unique_ptr<uint32_t[]> end;     // [sites]: where the entries of each end
  std::unique_ptr<uint16_t[]> narrow;  // the indices, where the width allows
  std::unique_ptr<uint32_t[]> wide;    // or these
  std::unique_ptr<float[]> value;
  std::unique_ptr<float[]> gradient;  // once backward has passed: of h; 0 for a clipped input
  bool finite = true;                 // every value is
  Uses uses;  // fully connected: what all but `finite` becomes once backward has passed

  uint32_t begin(int site) const { return site ? end[site - 1] : 0; }
  uint32_t entries(int sites) const { return begin(sites); }  // of all of them
  // Calls f with the indices.
  template <class Then>
  auto with_index(Then f) const {
    return narrow ? f(static_cast<const uint16_t*>(narrow.get()))
                  : f(static_cast<const uint32_t*>(wide.get()));
  }
  void take(Uses by_input) {
    *this = {nullptr, nullptr, nullptr, nullptr, nullptr, finite, std::move(by_input)};
  }
};

// Each part is of samples [batch * p / parts, batch * (p + 1) / parts), and one thread's.
struct Tape {
  Tape() = default;
  Tape(const Tape&) = delete;
  int batch = 0, parts = 0;
  std::vector<TapePart> held;  // [layers, parts]
  std::vector<Stage> stages;   // [layers], of convolutions

  TapePart& at(int layer, int p) { return held[static_cast<std::size_t>(layer) * parts + p]; }
  const TapePart& at(int layer, int p) const { return held[static_cast<std::size_t>(layer) * parts + p]; }
  int first(int p) const { return static_cast<int>(int64_t{batch} * p / parts); }
  int samples(int p) const { return first(p + 1) - first(p); }
  // That layer l reads.
  int sites(int l, int p) const {
    return stages.empty() ? samples(p) : samples(p) * stages[static_cast<std::size_t>(l)].in.pixels();
  }

  // Adds to each input of a layer the sites at which it is active, and the sizes of its values there; before
  // any backward pass.
  void add_active(int layer, float* count, float* size) const {
    for (int p = 0; p < parts; ++p) {
      const TapePart& part = at(layer, p);
      const uint32_t n = part.entries(sites(layer, p));
      part.with_index([&](const auto* index) {
        for (uint32_t e = 0; e < n; ++e) {
          count[index[e]] += 1.0f;
          size[index[e]] += std::fabs(part.value[e]);
        }
      });
    }
  }

  // Bytes of the lists.
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < held.size(); ++i) {
      const TapePart& part = held[i];
      const int count = static_cast<int>(i), n = sites(count / parts, count % parts);
      sum += part.uses.bytes();
      if (!part.end || !n) continue;
      const std::size_t entry = 4u + (part.narrow ? 2u : 4u) + (part.gradient ? 4u : 0u);
      sum += 4 * static_cast<std::size_t>(n) + part.entries(n) * entry;
    }
    return sum;
  }
};

}  // namespace sparsefield
