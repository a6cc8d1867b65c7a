// Backward: from the gradient of the last layer's h to those of every layer's active, unclipped inputs, by
// dot products with their weight rows.
//
// It turns the tape from lists of sites to lists of inputs: then a weight row is read once and stays in
// registers, and both it and the weight gradient pass over the samples of one input after another, of whose
// gradients a panel stays in the first-level cache.
#pragma once

#include <utility>

#include "train_forward.h"

namespace sparsefield {
namespace SF_ISA {

// Whether phi' = 1 for an active value y: as PyTorch's backward has it, not of a NaN unless phi is ReLU.
inline bool unclipped(const TrainLayer& layer, float y) {
  if (layer.phi == Phi::two_sided) return y < layer.m && y > -layer.m;
  return y < layer.m || layer.m == std::numeric_limits<float>::infinity();
}

// The gradient of h of a layer, `unit` times what a row for each of some samples holds at some of its units;
// zero up to a whole vector. A skip multiplies all by alpha: `unit` takes it, and a row is touched only where
// the layer adds to it.
struct Gradients {
  float* data;
  std::size_t stride;
  float unit = 1.0f;
  float* row(uint32_t s) const { return data + s * stride; }
};

inline bool all_finite(const float* row, int n) {
  Vec odd{};
  for (int i = 0; i < n; i += W) odd += load(row + i) * all(0.0f);
  return !active_lanes(odd);
}

// A row of a call's gradient, zero beyond its end as dot products need it; whether all are finite.
inline bool take(const float* from, int n, float* row, std::size_t padded) {
  std::copy(from, from + n, row);
  std::fill(row + n, row + padded, 0.0f);
  return all_finite(row, n);
}

inline std::size_t widest(const TrainChain& chain) {
  int n = 0;
  for (const TrainLayer& layer : chain.layers) n = std::max({n, layer.inputs, layer.outputs});
  return leading(n);
}

// begin[key]: where the uses of each key begin among all that `each` calls with, sorted; their number.
template <class Each>
uint32_t count_uses(int keys, uint32_t* begin, Each each) {
  std::fill(begin, begin + keys + 1, 0u);
  each([&](uint32_t, uint32_t key, float) { ++begin[key]; });
  uint32_t total = 0;  // from counts to beginnings
  for (int key = 0; key <= keys; ++key) {
    const uint32_t n = begin[key];
    begin[key] = total;
    total += n;
  }
  return total;
}

template <class Each>
void place_uses(int keys, uint32_t* begin, Use* uses, Each each) {
  each([&](uint32_t site, uint32_t key, float value) { uses[begin[key]++] = {site, value}; });
  for (int key = keys; key > 0; --key) begin[key] = begin[key - 1];  // each had moved to its end
  begin[0] = 0;
}

// From lists of sites to lists of inputs.
inline void turn(TrainLayer layer, int sites, TapePart& part) {
  if (part.uses.begin) return;  // by an earlier backward pass
  const int keys = 2 * layer.inputs;
  Uses to;
  to.inputs = layer.inputs;
  to.begin.reset(new uint32_t[static_cast<std::size_t>(keys) + 1]);
  const auto each = [&](auto then) {
    part.with_index([&](const auto* index) {
      for (int s = 0; s < sites; ++s)
        for (uint32_t e = part.begin(s); e < part.end[s]; ++e)
          then(static_cast<uint32_t>(s), 2u * index[e] + !unclipped(layer, part.value[e]), part.value[e]);
    });
  };
  const uint32_t n = count_uses(keys, to.begin.get(), each);
  to.use.reset(new Use[n]);
  to.gradient.reset(new float[n]);
  place_uses(keys, to.begin.get(), to.use.get(), each);
  part.take(std::move(to));
}

struct BackwardOwn {
  Array<float> gradients, weight;
  Units here, next;  // of the outputs of the layer, and of its inputs
};

// The push on the inputs of a layer, or null.
inline const float* push_of(const BackwardCall& call, int l) {
  return call.push.empty() ? nullptr : call.push[static_cast<std::size_t>(l)];
}

// What the gradients of a layer's inputs are before the dot products: the push on each, if there is one.
inline void begin_gradients(const TrainLayer& layer, const Uses& uses, const float* push) {
  const uint32_t* begin = uses.begin.get();
  float* to = uses.gradient.get();
  if (!push) return std::fill(to, to + begin[2 * uses.inputs], 0.0f);
  for (int k = 0; k < uses.inputs; ++k) {
    const uint32_t first = begin[2 * k], clipped = begin[2 * k + 1];
    std::fill(to + first, to + clipped, push[k]);
    std::fill(to + clipped, to + begin[2 * k + 2], 0.0f);
    for (uint32_t i = first; layer.phi == Phi::two_sided && i < clipped; ++i)
      to[i] = std::copysign(push[k], push[k] * uses.use[i].value);
  }
}

// gradient[r] += factor * the dot product of a weight row with the gradients of use r, for R uses.
template <int R, int V>
void add_dots(const Vec* row, const Use* use, const Gradients& g, float factor, float* gradient) {
  const float* at[R];
  for (int r = 0; r < R; ++r) at[r] = g.row(use[r].site);
  Vec sum[4] = {};
  for (int v = 0; v < V; ++v)
    for (int r = 0; r < R; ++r) sum[r] += row[v] * load(at[r] + v * W);
  const Quad total = sums_of(sum);
  for (int r = 0; r < R; ++r) gradient[r] += factor * total[r];
}

// The same for all uses of an input.
template <int V>
void add_dots(const float* weight, const Lanes& last, const Use* use, uint32_t n, const Gradients& g,
              float factor, float* gradient) {
  Vec row[V];
  for (int v = 0; v < V; ++v) row[v] = row_part<V>(weight, v, last);
  for (; n >= 4; n -= 4, use += 4, gradient += 4) add_dots<4, V>(row, use, g, factor, gradient);
  if (n == 3) add_dots<3, V>(row, use, g, factor, gradient);
  if (n == 2) add_dots<2, V>(row, use, g, factor, gradient);
  if (n == 1) add_dots<1, V>(row, use, g, factor, gradient);
}

// `held` of a row's weights to the chosen outputs, from the first-th on.
inline const float* at_chosen(const float* row, const Units& chosen, int first, int held, float* to) {
  if (chosen.all) return row + first;
  const uint32_t* unit = chosen.unit.data() + first;
  for (int j = 0; j < held; ++j) to[j] = row[unit[j]];
  return to;
}

// The gradients of a layer's inputs that were active and unclipped. The inputs come in blocks, whose rows
// are near in memory when the next panel of them is read.
inline void input_gradients(const TrainLayer& layer, const float* weight, const Gradients& g, int samples,
                            BackwardOwn& own, const Uses& uses) {
  constexpr int BLOCK = 256, AHEAD = 6;
  const Units& inputs = own.next;
  const auto outputs = static_cast<std::size_t>(layer.outputs);
  const uint32_t* begin = uses.begin.get();
  const Panels panels(own.here.count, nearest(samples));
  for (int from = 0; from < inputs.count; from += BLOCK)
    for (int p = 0; p < panels.count; ++p)
      with_vectors(vectors_of(panels.held(p)), [&](auto vectors) {
        const int first = panels.first(p), held = panels.held(p);
        const int until = std::min(inputs.count, from + BLOCK);
        const Lanes last = last_of(held);
        for (int i = from; i < until; ++i) {
          if (own.here.all && i + AHEAD < until)
            prefetch(weight + inputs.unit_at(i + AHEAD) * outputs + first, held);
          const std::size_t k = inputs.unit_at(i);
          const float* row = at_chosen(weight + k * outputs, own.here, first, held, own.weight.data());
          const uint32_t at = begin[2 * k];
          add_dots<vectors()>(row, last, uses.use.get() + at, begin[2 * k + 1] - at,
                              {g.data + first, g.stride}, layer.scale * g.unit, uses.gradient.get() + at);
        }
      });
}

// Whether input k passes on a gradient that is not zero: those of dead paths underflow.
inline bool passes(const Uses& uses, int k) {
  const uint32_t* begin = uses.begin.get() + 2 * k;
  for (uint32_t i = begin[0]; i < begin[1]; ++i)
    if (uses.gradient[i] != 0.0f) return true;
  return false;
}

// Rows for the gradient of h of the layer before: what a skip carries on, or zeros at chosen units.
inline void carry(const TrainLayer& layer, const Units& chosen, int samples, Gradients& g) {
  const int n = vectors_of(chosen.count) * W;
  const bool zero = layer.alpha == 0.0f;
  g.unit = zero ? 1.0f : g.unit * layer.alpha;
  if (!zero && g.unit >= 1.0f) return;
  const Vec factor = all(zero ? 0.0f : g.unit / 2);  // so that rows are never larger than what they stand for
  for (int s = 0; s < samples; ++s) {
    float* row = g.row(s);
    for (int i = 0; i < n; i += W) store(row + i, zero ? Vec{} : factor * load(row + i));
  }
  if (!zero) g.unit = 2.0f;
}

// Adds to them the gradients of a layer's inputs; whether what they come to is finite.
inline bool add_inputs(const Uses& uses, const Units& chosen, const Gradients& g) {
  const uint32_t* begin = uses.begin.get();
  const float share = 1.0f / g.unit;
  float odd = 0.0f;  // stays zero unless one is not finite
  for (int i = 0; i < chosen.count; ++i) {
    const std::size_t k = chosen.unit_at(i);
    float here = 0.0f;
    for (uint32_t e = begin[2 * k]; e < begin[2 * k + 1]; ++e) {
      float& to = g.row(uses.use[e].site)[i];
      to += share * uses.gradient[e];
      here += to * 0.0f;
    }
    odd += here;
  }
  return odd == 0.0f;
}

inline void backward_part(const TrainChain& chain, const Parameters& at, const BackwardCall& call, Tape& tape,
                          int p) {
  thread_local BackwardOwn own;
  const int first = tape.first(p), samples = tape.samples(p), depth = chain.depth();
  const std::size_t stride = widest(chain);
  own.gradients.resize(samples * stride);
  own.weight.resize(MOST * W);
  Gradients g{own.gradients.data(), stride};
  const int outputs = chain.layer(depth - 1).outputs;
  for (int s = 0; s < samples; ++s)
    take(call.gradient + static_cast<std::size_t>(first + s) * outputs, outputs,
         g.row(s), stride);
  own.here.choose_all(outputs);
  for (int l = depth - 1; l >= std::max(0, call.lowest - 1); --l) {
    const TrainLayer& layer = chain.layer(l);
    TapePart& part = tape.at(l, p);
    turn(layer, samples, part);
    if (l < call.lowest) break;  // of its weights alone
    const uint32_t* begin = part.uses.begin.get();
    own.next.choose(layer.inputs, [&](int k) { return begin[2 * k] != begin[2 * k + 1]; });
    begin_gradients(layer, part.uses, push_of(call, l));
    input_gradients(layer, at.weight[static_cast<std::size_t>(l)], g, samples, own, part.uses);
    // at all units where the skip carries the gradient on, or it is x's
    if (l == call.lowest || layer.alpha != 0.0f || chain.layer(l - 1).alpha != 0.0f)
      own.next.choose_all(layer.inputs);
    else
      own.next.choose(layer.inputs, [&](int k) { return passes(part.uses, k); });
    carry(layer, own.next, samples, g);
    add_inputs(part.uses, own.next, g);
    std::swap(own.here, own.next);
  }
  const int inputs = chain.layer(0).inputs;
  for (int s = 0; call.x_gradient && s < samples; ++s) {
    const float* row = g.row(s);
    float* to = call.x_gradient + static_cast<std::size_t>(first + s) * inputs;
    for (int i = 0; i < inputs; ++i) to[i] = g.unit * row[i];
  }
}

}  // namespace SF_ISA
}  // namespace sparsefield
