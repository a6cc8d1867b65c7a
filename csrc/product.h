// Sums of weight rows: over the active inputs of one site, or over every input of several.
#pragma once

#include "vector.h"

namespace sparsefield {
namespace SF_ISA {

// sum[v] += value[j] * row (index[j] - shift) of the panel, for n active inputs. Two rows at a time where
// there are registers for it: the sums of one alone would wait for one another.
template <Format F, int V>
inline void add_active(Vec* sum, const typename Stored<F>::Type* panel, const uint32_t* index,
                       const float* value, int n, uint32_t shift = 0) {
  constexpr int S = V * W;
  constexpr bool PAIRS = V <= 5;
  Vec other[V] = {};
  int j = 0;
  for (; PAIRS && j + 1 < n; j += 2) {
    const auto* a = panel + static_cast<std::size_t>(index[j] - shift) * S;
    const auto* b = panel + static_cast<std::size_t>(index[j + 1] - shift) * S;
    const Vec x = all(value[j]), y = all(value[j + 1]);
    for (int v = 0; v < V; ++v) sum[v] += x * Stored<F>::load(a + v * W);
    for (int v = 0; v < V; ++v) other[v] += y * Stored<F>::load(b + v * W);
  }
  for (; j < n; ++j) {
    const auto* a = panel + static_cast<std::size_t>(index[j] - shift) * S;
    const Vec x = all(value[j]);
    for (int v = 0; v < V; ++v) sum[v] += x * Stored<F>::load(a + v * W);
  }
  if constexpr (PAIRS)
    for (int v = 0; v < V; ++v) sum[v] += other[v];
}

// Vectors and sites that one dense step keeps in registers, of which there are 32 or 16.
template <int V>
constexpr int DENSE_VECTORS = W == 16 ? V : 2;
template <int V>
constexpr int DENSE_SITES = W == 16 ? 25 / V : 4;

// sums[r * WIDEST + ...] += row k of the panel times x[r * stride + k], k in [from, to), for R sites and
// V vectors of the panel, which is S wide.
template <Format F, int R, int V>
inline void add_all_step(float* sums, const typename Stored<F>::Type* panel, int S, const float* x,
                         std::size_t stride, int from, int to) {
  Vec sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) sum[r][v] = load(sums + r * WIDEST + v * W);
  for (int k = from; k < to; ++k) {
    Vec row[V];
    for (int v = 0; v < V; ++v) row[v] = Stored<F>::load(panel + static_cast<std::size_t>(k) * S + v * W);
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] += all(x[r * stride + k]) * row[v];
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(sums + r * WIDEST + v * W, sum[r][v]);
}

// The same for all V vectors of the panel and any number of sites.
template <Format F, int V>
inline void add_all(float* sums, const typename Stored<F>::Type* panel, const float* x, std::size_t stride,
                    int from, int to, int sites) {
  constexpr int R = DENSE_SITES<V>, C = DENSE_VECTORS<V>;
  static_assert(V % C == 0);
  for (int v = 0; v < V; v += C) {
    float* sum = sums + v * W;
    const auto* slice = panel + v * W;
    int s = 0;
    for (; s + R <= sites; s += R)
      add_all_step<F, R, C>(sum + s * WIDEST, slice, V * W, x + s * stride, stride, from, to);
    for (; s < sites; ++s)
      add_all_step<F, 1, C>(sum + s * WIDEST, slice, V * W, x + s * stride, stride, from, to);
  }
}

}  // namespace SF_ISA
}  // namespace sparsefield
