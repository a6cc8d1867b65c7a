// Weight rows in panels that stay near, and which of them.
#pragma once

#include <algorithm>

#include "lanes.h"

namespace sparsefield {
namespace SF_ISA {

constexpr int MOST = 10;                   // vectors of sums that stay in registers
constexpr std::size_t NEAR = 256 << 10;    // bytes that the second-level cache keeps beside what passes
constexpr std::size_t NEAREST = 28 << 10;  // and the first-level cache

// Calls f with the number of vectors as a constant.
template <class Then>
void with_vectors(int vectors, Then f) {
  switch (vectors) {
    case 1:
      return f(std::integral_constant<int, 1>());
    case 2:
      return f(std::integral_constant<int, 2>());
    case 3:
      return f(std::integral_constant<int, 3>());
    case 4:
      return f(std::integral_constant<int, 4>());
    case 5:
      return f(std::integral_constant<int, 5>());
    case 6:
      return f(std::integral_constant<int, 6>());
    case 7:
      return f(std::integral_constant<int, 7>());
    case 8:
      return f(std::integral_constant<int, 8>());
    case 9:
      return f(std::integral_constant<int, 9>());
    default:
      return f(std::integral_constant<int, 10>());
  }
}

// A row of n values in nearly equal panels of at most so many vectors.
struct Panels {
  int n, count, vectors;
  explicit Panels(int values, int most = MOST)
      : n(values),
        count((vectors_of(values) + most - 1) / most),
        vectors(count ? (vectors_of(values) + count - 1) / count : 0) {}
  int first(int p) const { return p * vectors * W; }
  int held(int p) const { return std::min(vectors * W, n - first(p)); }
};

// Vectors of a panel of so many rows that stays in the first-level cache, if any does.
inline int nearest(int rows) {
  const auto fits = static_cast<int>(NEAREST / (sizeof(Vec) * static_cast<std::size_t>(std::max(1, rows))));
  return std::clamp(fits, 4, MOST);
}

// A leading dimension of n floats or more that no power of two divides far: rows would share a cache set.
inline std::size_t leading(int n) { return static_cast<std::size_t>(n + 63) / 64 * 64 + 16; }

// Some of a layer's units, ascending; where they are most, `all` of them.
struct Units {
  Array<uint32_t> unit, place;  // [chosen], [width]
  Array<uint8_t> seen;          // [width]: those that any sample has in its list
  int count = 0;
  bool all = true;

  void begin(int width) {
    seen.resize(static_cast<std::size_t>(width));
    std::fill(seen.data(), seen.data() + width, uint8_t{0});
  }
  void choose_all(int width) {
    all = true;
    count = width;
  }
  // Those for which `chosen` holds.
  template <class Chosen>
  void choose(int width, Chosen chosen) {
    unit.resize(static_cast<std::size_t>(width));
    place.resize(static_cast<std::size_t>(width));
    count = 0;
    for (int k = 0; k < width; ++k) {
      place.data()[k] = static_cast<uint32_t>(count);
      unit.data()[count] = static_cast<uint32_t>(k);
      count += chosen(k);
    }
    if (vectors_of(count) * 3 > vectors_of(width) * 2)
      choose_all(width);
    else
      all = false;
  }
  void choose_seen(int width) {
    choose(width, [this](int k) { return seen.data()[k] != 0; });
  }
  uint32_t at(uint32_t k) const { return all ? k : place.data()[k]; }
  std::size_t unit_at(int k) const { return all ? static_cast<std::size_t>(k) : unit.data()[k]; }
};

template <int V>
Vec row_part(const float* row, int v, const Lanes& last) {
  return v == V - 1 ? last.load(row + v * W) : load(row + v * W);
}

template <int LOCALITY = 3>
void prefetch(const float* from, int n) {
  for (int i = 0; i < n + LANES; i += LANES) __builtin_prefetch(from + i, 0, LOCALITY);
}

// Rows [from, until) of those chosen, `held` values of each from `weight` on: side by side, whole vectors.
inline void copy_rows(const float* weight, std::size_t stride, const Units& units, int from, int until,
                      int held, float* to, std::size_t to_stride) {
  constexpr int AHEAD = 6;  // rows: they lie apart, and come from far
  const int vectors = vectors_of(held);
  const Lanes last = last_of(held);
  for (int k = from; k < until; ++k, to += to_stride) {
    if (k + AHEAD < until) prefetch(weight + units.unit_at(k + AHEAD) * stride, held);
    const float* row = weight + units.unit_at(k) * stride;
    for (int v = 0; v + 1 < vectors; ++v) store(to + v * W, load(row + v * W));
    store(to + (vectors - 1) * W, last.load(row + (vectors - 1) * W));
  }
}

// Weights that are read next: rows [from, until) of those chosen, `held` values of each.
struct Coming {
  const float* weight;
  int from, until, held;

  // Brings so many of them near.
  void fetch(const Units& units, std::size_t stride, int rows) {
    for (const int end = std::min(until, from + rows); from < end; ++from)
      prefetch<2>(weight + units.unit_at(from) * stride, held);
  }
};

}  // namespace SF_ISA
}  // namespace sparsefield
