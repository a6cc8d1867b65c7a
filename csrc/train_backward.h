// Backward: from the gradient of the last layer's h to those of every list's entries, by dot products with
// weight rows of active, unclipped inputs alone.
#pragma once

#include "train_forward.h"

namespace sparsefield {
namespace SF_ISA {

constexpr int COLUMNS = 1024;  // of a weight row that one dot product reads at a time

// Whether phi' = 1 for an active value y; as the activations' backward has it, of NaN too.
inline bool unclipped(const TrainLayer& layer, float y) {
  if (layer.phi == Phi::one_sided) return !(y >= layer.m) || layer.m == std::numeric_limits<float>::infinity();
  return layer.phi == Phi::identity || !(y >= layer.m || y <= -layer.m);
}

// Dense rows of the gradient of h, one for each of some samples.
struct Gradients {
  float* data;
  std::size_t stride;
  float* row(int s) const { return data + s * stride; }
};

// From the gradient of h of a layer to that of the layer before, whose entries the tape holds.
inline void descend(const TrainLayer& layer, const TapePart& part, int s, float* row) {
  const int padded = vectors_of(std::max(layer.inputs, layer.outputs)) * W;
  if (layer.alpha == 0.0f)
    std::fill(row, row + padded, 0.0f);
  else
    for (int i = 0; i < padded; i += W) store(row + i, all(layer.alpha) * load(row + i));
  for (uint32_t e = part.begin(s); e < part.end[s]; ++e) row[part.index(e)] += part.gradient[e];
}

// R dot products of rows with g over n values, of which n - 1 are whole vectors.
template <int R>
Quad dots(const float* const* rows, const float* g, int n) {
  static_assert(R <= 4);
  const int vectors = vectors_of(n);
  const Lanes last = last_of(n);
  Vec sum[4] = {};
  for (int v = 0; v + 1 < vectors; ++v) {
    const Vec x = load(g + v * W);
    for (int r = 0; r < R; ++r) sum[r] += x * load(rows[r] + v * W);
  }
  const Vec x = load(g + (vectors - 1) * W);  // zero beyond the last value
  for (int r = 0; r < R; ++r) sum[r] += x * last.load(rows[r] + (vectors - 1) * W);
  return sums_of(sum);
}

struct BackwardOwn {
  Array<float> gradients;
  Array<uint32_t> index, entry;  // of the unclipped
  Array<int> end, cursor;        // [samples]
};

// The unclipped entries of a part.
inline void choose(const TrainLayer& layer, const TapePart& part, int samples, BackwardOwn& own) {
  const uint32_t entries = samples ? part.end[samples - 1] : 0;
  own.index.resize(entries + 1u);
  own.entry.resize(entries + 1u);
  uint32_t *index = own.index.data(), *entry = own.entry.data();
  uint32_t n = 0, e = 0;
  for (int s = 0; s < samples; ++s) {
    for (; e < part.end[s]; ++e) {
      index[n] = part.index(e);
      entry[n] = e;
      n += unclipped(layer, part.value[e]);
    }
    own.end.data()[s] = static_cast<int>(n);
  }
}

// gradient[entry] += scale * dot for n rows of a block, over `held` columns.
inline void add_dots(const float* weight, std::size_t stride, const uint32_t* index, const uint32_t* entry, int n,
                     const float* g, int held, float scale, float* gradient) {
  for (int j = 0; j < n; j += 4) {
    const int rows = std::min(4, n - j);
    const float* row[4];
    for (int r = 0; r < 4; ++r) row[r] = weight + index[j + std::min(r, rows - 1)] * stride;
    const Quad sum = rows == 4   ? dots<4>(row, g, held)
                     : rows == 3 ? dots<3>(row, g, held)
                     : rows == 2 ? dots<2>(row, g, held)
                                 : dots<1>(row, g, held);
    for (int r = 0; r < rows; ++r) gradient[entry[j + r]] += scale * sum[r];
  }
}

// The gradients of a layer's inputs that were active and unclipped. Weights come in blocks that stay near while
// the samples pass.
inline void input_gradients(const TrainLayer& layer, const float* weight, const Gradients& g, int samples,
                            BackwardOwn& own, TapePart& part) {
  const uint32_t entries = samples ? part.end[samples - 1] : 0;
  part.gradient.reset(new float[entries]);
  std::fill(part.gradient.get(), part.gradient.get() + entries, 0.0f);
  choose(layer, part, samples, own);
  const auto stride = static_cast<std::size_t>(layer.outputs);
  const int columns = std::min(layer.outputs, COLUMNS);
  const int most = std::max(16, static_cast<int>(NEAR / (columns * sizeof(float))));
  const int rows = layer.inputs <= most ? layer.inputs : most;
  int *end = own.end.data(), *cursor = own.cursor.data();
  const uint32_t* index = own.index.data();
  for (int c = 0; c < layer.outputs; c += columns) {
    const int held = std::min(columns, layer.outputs - c);
    for (int s = 0; s < samples; ++s) cursor[s] = s ? end[s - 1] : 0;
    for (int from = 0; from < layer.inputs; from += rows) {
      const auto until = static_cast<uint32_t>(std::min(layer.inputs, from + rows));
      for (int s = 0; s < samples; ++s) {
        const int begin = cursor[s];
        int stop = begin;
        while (stop < end[s] && index[stop] < until) ++stop;
        add_dots(weight + c, stride, index + begin, own.entry.data() + begin, stop - begin, g.row(s) + c, held,
                 layer.scale, part.gradient.get());
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

inline void backward_part(const TrainChain& chain, const Parameters& at, const BackwardCall& call, Tape& tape, int p) {
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
  for (int l = depth - 1; l >= call.lowest; --l) {
    const TrainLayer& layer = chain.layer(l);
    TapePart& part = tape.at(l, p);
    input_gradients(layer, at.weight[static_cast<std::size_t>(l)], g, samples, own, part);
    for (int s = 0; s < samples; ++s) descend(layer, part, s, g.row(s));
  }
  const int inputs = chain.layer(0).inputs;
  for (int s = 0; call.x_gradient && s < samples; ++s)
    std::copy(g.row(s), g.row(s) + inputs, call.x_gradient + static_cast<std::size_t>(first + s) * inputs);
}

}  // namespace SF_ISA
}  // namespace sparsefield
