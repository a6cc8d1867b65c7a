// Weight gradients, an input at a time: summed in registers over the samples in which it was active, and used
// at once.
#pragma once

#include "train_backward.h"

namespace sparsefield {
namespace SF_ISA {

// Part of an array, of which the last vector may be cut short.
struct Whole {
  static Vec load(const float* p) { return SF_ISA::load(p); }
  static void store(float* p, Vec x) { SF_ISA::store(p, x); }
};

// One vector of gradient at place `at`; whether the moments are zero now. As torch.optim computes them.
template <Rule R, class Held>
bool apply_rule(const Update& u, Vec g, std::size_t at, const Held& held) {
  if constexpr (R == Rule::gradient) {
    held.store(u.to + at, g);
    return true;
  }
  Vec w = held.load(u.to + at);
  if (u.decay != 0.0f) g += all(u.decay) * w;
  if constexpr (R == Rule::sgd) {
    if (!u.first) {
      held.store(u.to + at, w - all(u.lr) * g);
      return true;
    }
    const Vec moment = all(u.momentum) * held.load(u.first + at) + all(u.added) * g;
    held.store(u.first + at, moment);
    if (u.nesterov) g += all(u.momentum) * moment;
    held.store(u.to + at, w - all(u.lr) * (u.nesterov ? g : moment));
    return !active_lanes(moment);
  }
  if constexpr (R == Rule::adam) {
    Vec first = held.load(u.first + at), second = held.load(u.second + at);
    first += all(1.0f - u.beta1) * (g - first);
    second = all(u.beta2) * second + all(1.0f - u.beta2) * (g * g);
    held.store(u.first + at, first);
    held.store(u.second + at, second);
    w *= all(u.shrink);
    held.store(u.to + at, w - all(u.lr) * first / (root(second) / all(u.correction) + all(u.eps)));
    return !(active_lanes(first) | active_lanes(second));
  }
  return true;
}

// One sample in which an input was active.
struct Use {
  uint32_t sample;
  float value;
};

// A group of V vectors of one row.
template <Rule R, int V>
bool update_group(const Update& u, const Use* uses, int n, const Gradients& g, float scale, int column,
                  std::size_t at, const Lanes& last) {
  Vec sum[V] = {};
  for (int i = 0; i < n; ++i) {
    const float* row = g.row(static_cast<int>(uses[i].sample)) + column;
    const Vec y = all(uses[i].value * scale);
    for (int v = 0; v < V; ++v) sum[v] += y * load(row + v * W);
  }
  bool zero = true;
  for (int v = 0; v + 1 < V; ++v) zero &= apply_rule<R>(u, sum[v], at + v * W, Whole());
  zero &= apply_rule<R>(u, sum[V - 1], at + (V - 1) * W, last);
  return zero;
}

// Whether a row without gradient stays as it is.
inline bool idle(const Update& u, int k) {
  if (u.rule == Rule::gradient || u.decay != 0.0f) return false;
  return !u.first || (u.live && !u.live[k] && u.shrink == 1.0f);
}

template <Rule R>
void update_row(const Update& u, int k, const Use* uses, int n, const Gradients& g, const TrainLayer& layer) {
  if (!n && idle(u, k)) return;
  const Panels panels(layer.outputs);
  bool zero = true;
  for (int p = 0; p < panels.count; ++p) {
    const int first = panels.first(p), held = panels.held(p);
    with_vectors(vectors_of(held), [&](auto vectors) {
      zero &= update_group<R, vectors()>(u, uses, n, g, layer.scale, first,
                                         static_cast<std::size_t>(k) * layer.outputs + first, last_of(held));
    });
  }
  if (u.live) u.live[k] = !zero;
}

template <Rule R>
void update_bias(const Update& u, const Gradients& g, int samples, const TrainLayer& layer, int from, int until) {
  for (int c = from; c < until; c += W) {
    Vec sum{};
    for (int s = 0; s < samples; ++s) sum += load(g.row(s) + c);
    apply_rule<R>(u, sum * all(layer.scale), static_cast<std::size_t>(c), Lanes(std::min(W, until - c)));
  }
}

template <class Then>
void with_rule(Rule rule, Then f) {
  if (rule == Rule::gradient) f(std::integral_constant<Rule, Rule::gradient>());
  if (rule == Rule::sgd) f(std::integral_constant<Rule, Rule::sgd>());
  if (rule == Rule::adam) f(std::integral_constant<Rule, Rule::adam>());
}

struct WeightsOwn {
  Array<float> gradients;
  Array<uint32_t> begin;  // [inputs + 1]: the uses of an input
  Array<Use> uses;
  std::vector<uint8_t> odd;  // [batch]: the gradient of h holds a NaN or an infinity
};

inline bool finite(const float* row, int padded) {
  Vec sum{};
  for (int i = 0; i < padded; i += W) {
    const Vec x = load(row + i);
    sum += x - x;
  }
  return !active_lanes(sum);
}

// The samples in which each input was active; where the gradient is not finite, every input is, as it is for
// dense products: zero times infinity is no number.
inline void invert(const Tape& tape, int l, int inputs, WeightsOwn& own) {
  uint32_t* begin = own.begin.data();
  std::fill(begin, begin + inputs + 1, 0u);
  for (int pass = 0; pass < 2; ++pass) {
    for (int p = 0, sample = 0; p < tape.parts; ++p) {
      const TapePart& part = tape.at(l, p);
      for (int s = 0; s < tape.samples(p); ++s, ++sample) {
        uint32_t e = part.begin(s);
        const uint32_t end = part.end[s];
        if (!own.odd[static_cast<std::size_t>(sample)]) {
          for (; e < end; ++e) {
            const uint32_t k = part.index(e);
            if (pass)
              own.uses.data()[begin[k]++] = {static_cast<uint32_t>(sample), part.value[e]};
            else
              ++begin[k];
          }
          continue;
        }
        for (uint32_t k = 0; k < static_cast<uint32_t>(inputs); ++k) {
          const bool active = e < end && part.index(e) == k;
          const float value = active ? part.value[e] : 0.0f;
          e += active;
          if (pass)
            own.uses.data()[begin[k]++] = {static_cast<uint32_t>(sample), value};
          else
            ++begin[k];
        }
      }
    }
    if (pass) break;
    uint32_t total = 0;  // from counts to beginnings
    for (int k = 0; k <= inputs; ++k) {
      const uint32_t n = begin[k];
      begin[k] = total;
      total += n;
    }
    own.uses.resize(total + 1u);
  }
  for (int k = inputs; k > 0; --k) begin[k] = begin[k - 1];  // each had moved to its end
  begin[0] = 0;
}

// Where the t-th share of the rows begins: equal numbers of uses and rows.
inline int share(const uint32_t* begin, int inputs, int t, int threads) {
  const uint64_t total = uint64_t{begin[inputs]} + inputs, wanted = total * t / threads;
  int low = 0, high = inputs;
  while (low < high) {
    const int k = (low + high) / 2;
    begin[k] + static_cast<uint64_t>(k) < wanted ? low = k + 1 : high = k;
  }
  return low;
}

// Share t of every layer's rows.
inline void weights_part(const TrainChain& chain, const WeightCall& call, const Tape& tape, int t, int threads) {
  thread_local WeightsOwn own;
  const int depth = chain.depth(), batch = tape.batch;
  const std::size_t stride = widest(chain);
  own.gradients.resize(batch * stride);
  own.begin.resize(stride + 1);
  own.odd.assign(static_cast<std::size_t>(batch), 0);
  const Gradients g{own.gradients.data(), stride};
  const int outputs = chain.layer(depth - 1).outputs;
  for (int s = 0; s < batch; ++s)
    take(call.gradient + static_cast<std::size_t>(s) * outputs, outputs, g.row(s), stride);
  int lowest = depth;
  for (int l = depth - 1; l >= 0; --l)
    if (call.weight[static_cast<std::size_t>(l)].rule != Rule::none ||
        call.bias[static_cast<std::size_t>(l)].rule != Rule::none)
      lowest = l;
  for (int l = depth - 1; l >= lowest; --l) {
    const TrainLayer& layer = chain.layer(l);
    const Update &weight = call.weight[static_cast<std::size_t>(l)], &bias = call.bias[static_cast<std::size_t>(l)];
    if (l + 1 < depth)
      for (int p = 0, sample = 0; p < tape.parts; ++p)
        for (int s = 0; s < tape.samples(p); ++s, ++sample)
          descend(chain.layer(l + 1), tape.at(l + 1, p), s, g.row(sample));
    const int padded = vectors_of(layer.outputs) * W;
    for (int s = 0; s < batch; ++s) own.odd[static_cast<std::size_t>(s)] = !finite(g.row(s), padded);
    if (weight.rule != Rule::none) {
      invert(tape, l, layer.inputs, own);
      const uint32_t* begin = own.begin.data();
      const int from = share(begin, layer.inputs, t, threads), until = share(begin, layer.inputs, t + 1, threads);
      with_rule(weight.rule, [&](auto rule) {
        for (int k = from; k < until; ++k)
          update_row<rule()>(weight, k, own.uses.data() + begin[k], static_cast<int>(begin[k + 1] - begin[k]), g,
                             layer);
      });
    }
    with_rule(bias.rule, [&](auto rule) {
      const int vectors = vectors_of(layer.outputs);
      const int from = vectors * t / threads * W, until = std::min(layer.outputs, vectors * (t + 1) / threads * W);
      update_bias<rule()>(bias, g, batch, layer, from, until);
    });
  }
}

}  // namespace SF_ISA
}  // namespace sparsefield
