// Backward: from the gradient of the last layer's h to those of every list's entries, by dot products with
// weight rows of active, unclipped inputs alone.
#pragma once

#include <utility>

#include "train_forward.h"

namespace sparsefield {
namespace SF_ISA {

constexpr int COLUMNS = 1024;  // of a weight row that one dot product reads at a time

// Whether phi' = 1 for an active value y: as PyTorch's backward has it, not of a NaN unless phi is ReLU.
inline bool unclipped(const TrainLayer& layer, float y) {
  if (layer.phi == Phi::two_sided) return y < layer.m && y > -layer.m;
  return y < layer.m || layer.m == std::numeric_limits<float>::infinity();
}

// The gradient of h of a layer for each of some samples, at some of its units; zero up to a whole vector.
struct Gradients {
  float* data;
  std::size_t stride;
  float* row(int s) const { return data + s * stride; }
};

// From the gradient of h of a layer at all units to that of the layer before, whose entries the tape holds;
// whether all are finite.
inline bool carry(const TrainLayer& layer, const TapePart& part, int s, float* row) {
  part.with_index([&](const auto* index) {
    const int padded = vectors_of(layer.inputs) * W;
    for (int i = 0; i < padded; i += W) store(row + i, all(layer.alpha) * load(row + i));
    for (uint32_t e = part.begin(s); e < part.end[s]; ++e) row[index[e]] += part.gradient[e];
  });
  Vec sum{};
  for (int i = 0; i < layer.inputs; i += W) sum += load(row + i) * all(0.0f);
  return !active_lanes(sum);
}

// The same without a skip, at chosen units; whether all entries are finite.
inline bool scatter(const TapePart& part, int s, const Units& units, float* row) {
  float odd = 0.0f;
  std::fill(row, row + vectors_of(units.count) * W, 0.0f);
  part.with_index([&](const auto* index) {
    for (uint32_t e = part.begin(s); e < part.end[s]; ++e) {
      // a clipped unit may have no place of its own
      if (part.gradient[e] != 0.0f) row[units.at(index[e])] = part.gradient[e];
      odd += part.gradient[e] * 0.0f;
    }
  });
  return odd == 0.0f;
}

// R dot products of rows with g.
template <int R>
Quad dots(const float* const* rows, const float* g, int vectors) {
  static_assert(R <= 4);
  Vec sum[4] = {};
  for (int v = 0; v < vectors; ++v) {
    const Vec x = load(g + v * W);
    for (int r = 0; r < R; ++r) sum[r] += x * load(rows[r] + v * W);
  }
  return sums_of(sum);
}

struct BackwardOwn {
  Array<float> gradients, weight;
  Array<uint32_t> index, entry;  // of the unclipped
  Array<int> end, cursor;        // [samples]
  Units here, next;              // of the outputs of the layer, and of its inputs
};

// What the gradients of a layer's entries are before the dot products: the push on each input, if there is one.
inline void begin_gradients(const TrainLayer& layer, const BackwardCall& call, int l, uint32_t entries,
                            TapePart& part) {
  part.gradient.reset(new float[entries]);
  float* to = part.gradient.get();
  const float* push = call.push.empty() ? nullptr : call.push[static_cast<std::size_t>(l)];
  if (!push) return std::fill(to, to + entries, 0.0f);
  part.with_index([&](const auto* index) {
    for (uint32_t e = 0; e < entries; ++e) {
      const float y = part.value[e], pushed = push[index[e]];
      to[e] = unclipped(layer, y) ? (y < 0.0f ? -pushed : pushed) : 0.0f;
    }
  });
}

// The unclipped entries of a part, and the inputs that any of them is.
inline void choose(const TrainLayer& layer, const TapePart& part, int samples, BackwardOwn& own) {
  const uint32_t entries = samples ? part.end[samples - 1] : 0;
  own.index.resize(entries + 1u);
  own.entry.resize(entries + 1u);
  own.next.begin(layer.inputs);
  uint32_t *to = own.index.data(), *entry = own.entry.data();
  uint8_t* seen = own.next.seen.data();
  part.with_index([&](const auto* index) {
    uint32_t n = 0, e = 0;
    for (int s = 0; s < samples; ++s) {
      for (; e < part.end[s]; ++e) {
        to[n] = index[e];
        entry[n] = e;
        const bool chosen = unclipped(layer, part.value[e]);
        seen[index[e]] |= chosen;
        n += chosen;
      }
      own.end.data()[s] = static_cast<int>(n);
    }
  });
  own.next.end(layer.inputs);
}

// The weights between chosen inputs [from, until) and `held` of the chosen outputs, from the c-th on.
inline void gather(const TrainLayer& layer, const float* weight, int from, int until, int c, int held,
                   std::size_t stride, BackwardOwn& own) {
  const auto outputs = static_cast<std::size_t>(layer.outputs);
  if (own.here.all)
    return copy_rows(weight + c, outputs, own.next, from, until, held, own.weight.data(), stride);
  const uint32_t* unit = own.here.unit.data() + c;
  for (int k = from; k < until; ++k) {
    const float* row = weight + own.next.unit_at(k) * outputs;
    float* to = own.weight.data() + static_cast<std::size_t>(k - from) * stride;
    for (int j = 0; j < held; ++j) to[j] = row[unit[j]];
    std::fill(to + held, to + vectors_of(held) * W, 0.0f);
  }
}

// gradient[entry] += scale * dot for n rows of a block, over `held` columns.
inline void add_dots(const float* weight, std::size_t stride, int from, const uint32_t* index,
                     const uint32_t* entry, int n, const float* g, int vectors, float scale,
                     float* gradient) {
  for (int j = 0; j < n; j += 4) {
    const int rows = std::min(4, n - j);
    const float* row[4];
    for (int r = 0; r < 4; ++r) row[r] = weight + (index[j + std::min(r, rows - 1)] - from) * stride;
    const Quad sum = rows == 4   ? dots<4>(row, g, vectors)
                     : rows == 3 ? dots<3>(row, g, vectors)
                     : rows == 2 ? dots<2>(row, g, vectors)
                                 : dots<1>(row, g, vectors);
    for (int r = 0; r < rows; ++r) gradient[entry[j + r]] += scale * sum[r];
  }
}

// The gradients of a layer's inputs that were active and unclipped. Weights come in blocks, copied to where
// they are aligned and stay near while the samples pass.
inline void input_gradients(const TrainLayer& layer, const float* weight, const Gradients& g, int samples,
                            BackwardOwn& own, float* gradient) {
  const int inputs = own.next.count, outputs = own.here.count;
  if (!inputs || !outputs) return;
  const int columns = std::min(outputs, COLUMNS), entries = own.end.data()[samples - 1];
  const std::size_t stride = leading(columns);
  const int rows = std::min(inputs, std::max(16, static_cast<int>(NEAR / (stride * sizeof(float)))));
  own.weight.resize(rows * stride);
  uint32_t* index = own.index.data();
  for (int i = 0; i < entries && !own.next.all; ++i) index[i] = own.next.place.data()[index[i]];
  int *end = own.end.data(), *cursor = own.cursor.data();
  for (int c = 0; c < outputs; c += columns) {
    const int held = std::min(columns, outputs - c);
    for (int s = 0; s < samples; ++s) cursor[s] = s ? end[s - 1] : 0;
    for (int from = 0; from < inputs; from += rows) {
      const int until = std::min(inputs, from + rows);
      gather(layer, weight, from, until, c, held, stride, own);
      for (int s = 0; s < samples; ++s) {
        const int begin = cursor[s];
        int stop = end[s];
        if (rows < inputs)
          for (stop = begin; stop < end[s] && index[stop] < static_cast<uint32_t>(until);) ++stop;
        add_dots(own.weight.data(), stride, from, index + begin, own.entry.data() + begin, stop - begin,
                 g.row(s) + c, vectors_of(held), layer.scale, gradient);
        cursor[s] = stop;
      }
    }
  }
}

// Rows of a call's gradient, zero beyond their end as dot products need it.
inline void take(const float* from, int n, float* row, std::size_t padded) {
  std::copy(from, from + n, row);
  std::fill(row + n, row + padded, 0.0f);
}

inline std::size_t widest(const TrainChain& chain) {
  int n = 0;
  for (const TrainLayer& layer : chain.layers) n = std::max({n, layer.inputs, layer.outputs});
  return leading(n);
}

inline void backward_part(const TrainChain& chain, const Parameters& at, const BackwardCall& call, Tape& tape,
                          int p) {
  thread_local BackwardOwn own;
  const int first = tape.first(p), samples = tape.samples(p), depth = chain.depth();
  const std::size_t stride = widest(chain);
  own.gradients.resize(samples * stride);
  own.end.resize(static_cast<std::size_t>(samples));
  own.cursor.resize(static_cast<std::size_t>(samples));
  const Gradients g{own.gradients.data(), stride};
  const int outputs = chain.layer(depth - 1).outputs;
  for (int s = 0; s < samples; ++s)
    take(call.gradient + static_cast<std::size_t>(first + s) * outputs, outputs, g.row(s), stride);
  own.here.choose_all(outputs);
  for (int l = depth - 1; l >= call.lowest; --l) {
    const TrainLayer& layer = chain.layer(l);
    TapePart& part = tape.at(l, p);
    const uint32_t entries = samples ? part.end[samples - 1] : 0;
    begin_gradients(layer, call, l, entries, part);
    choose(layer, part, samples, own);
    input_gradients(layer, at.weight[static_cast<std::size_t>(l)], g, samples, own, part.gradient.get());
    // at all units where the skip carries the gradient on, or it is x's
    if (l == call.lowest || layer.alpha != 0.0f || chain.layer(l - 1).alpha != 0.0f)
      own.next.choose_all(layer.inputs);
    for (int s = 0; s < samples; ++s)
      layer.alpha != 0.0f ? carry(layer, part, s, g.row(s)) : scatter(part, s, own.next, g.row(s));
    std::swap(own.here, own.next);
  }
  const int inputs = chain.layer(0).inputs;
  for (int s = 0; call.x_gradient && s < samples; ++s)
    std::copy(g.row(s), g.row(s) + inputs, call.x_gradient + static_cast<std::size_t>(first + s) * inputs);
}

}  // namespace SF_ISA
}  // namespace sparsefield
