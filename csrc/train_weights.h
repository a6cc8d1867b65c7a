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
    held.store(u.to + at, w - all(u.lr) * first / (root(second) * all(1.0f / u.correction) + all(u.eps)));
    return !(active_lanes(first) | active_lanes(second));
  }
  return true;
}

// One panel of a row: to = scale * the sum of value * gradient over the uses of an input.
template <int V>
void sum_uses(const Use* uses, uint32_t count, const Gradients& g, float scale, float* to) {
  Vec sum[V] = {}, other[V] = {};
  uint32_t i = 0;
  for (; i + 1 < count; i += 2) {
    const float *a = g.row(uses[i].site), *b = g.row(uses[i + 1].site);
    const Vec x = all(uses[i].value), y = all(uses[i + 1].value);
    for (int v = 0; v < V; ++v) sum[v] += x * load(a + v * W);
    for (int v = 0; v < V; ++v) other[v] += y * load(b + v * W);
  }
  if (i < count)
    for (int v = 0; v < V; ++v) sum[v] += all(uses[i].value) * load(g.row(uses[i].site) + v * W);
  for (int v = 0; v < V; ++v) store(to + v * W, (sum[v] + other[v]) * all(scale));
}

// The same for a bias, of which every sample is a use.
inline void sum_all(const Gradients& g, int samples, float scale, int n, float* to) {
  for (int c = 0; c < n; c += W) {
    Vec sum{};
    for (int s = 0; s < samples; ++s) sum += load(g.row(s) + c);
    store(to + c, sum * all(scale));
  }
}

// Whether a row without gradient stays as it is.
inline bool idle(const Update& u, int k) {
  if (u.rule == Rule::gradient || u.decay != 0.0f) return false;
  return !u.first || (u.live && !u.live[k] && u.shrink == 1.0f);
}

// The rule for n values from place `at` on; whether their moments are zero now.
template <Rule R>
bool apply_all(Update u, const float* gradient, std::size_t at, int n) {  // a copy stays in registers
  const int vectors = vectors_of(n);
  bool zero = true;
  for (int v = 0; v + 1 < vectors; ++v) zero &= apply_rule<R>(u, load(gradient + v * W), at + v * W, Whole());
  return apply_rule<R>(u, load(gradient + (vectors - 1) * W), at + (vectors - 1) * W, last_of(n)) && zero;
}

inline bool apply_all(const Update& u, const float* gradient, std::size_t at, int n) {
  if (u.rule == Rule::gradient) return apply_all<Rule::gradient>(u, gradient, at, n);
  if (u.rule == Rule::sgd) return apply_all<Rule::sgd>(u, gradient, at, n);
  return apply_all<Rule::adam>(u, gradient, at, n);
}

// What an update does with the sums of a row, which are at chosen units; `full` is zero between calls.
inline bool apply_sums(const Update& u, const Units& chosen, float* full, const float* sums, std::size_t at,
                       int outputs) {
  if (chosen.all) return apply_all(u, sums, at, outputs);
  const uint32_t* unit = chosen.unit.data();
  if (u.rule == Rule::sgd && !u.first && u.decay == 0.0f) {
    for (int j = 0; j < chosen.count; ++j) u.to[at + unit[j]] -= u.lr * sums[j];
    return true;
  }
  for (int j = 0; j < chosen.count; ++j) full[unit[j]] = sums[j];
  const bool zero = apply_all(u, full, at, outputs);
  for (int j = 0; j < chosen.count; ++j) full[unit[j]] = 0.0f;
  return zero;
}

// Whether the inputs of a layer are: zero times one that is not is no number.
inline bool finite_inputs(const Tape& tape, int l) {
  bool all = true;
  for (int p = 0; p < tape.parts; ++p) all &= tape.at(l, p).finite;
  return all;
}

// Whether all units of a layer's outputs have a place in their gradients.
inline bool all_outputs(const TrainChain& chain, const Tape& tape, int l) {
  return l + 1 == chain.depth() || !finite_inputs(tape, l) || chain.layer(l).alpha != 0.0f ||
         chain.layer(l + 1).alpha != 0.0f;
}

// The first layer that is to be updated, or their number.
inline int lowest_wanted(const WeightCall& call) {
  std::size_t l = 0;
  while (l < call.weight.size() && call.weight[l].rule == Rule::none && call.bias[l].rule == Rule::none) ++l;
  return static_cast<int>(l);
}

struct WeightsOwn {
  Array<float> gradients;
  Array<float> sums, full;       // of some rows at chosen units; of one at all
  std::vector<uint32_t> odd;     // samples whose gradient of h holds a NaN or an infinity
  std::vector<uint32_t> before;  // [inputs + 1]: uses of all inputs before one
  std::vector<int> rows;         // inputs to be updated
  std::vector<uint32_t> begin;   // [rows + 1]: their uses
  Array<Use> uses;
  Units units;
};

// The gradient of h of layer l, at all units or at those that any sample has: from the call, or from that of
// the layer after it and what the tape adds.
inline void take_gradient(const TrainChain& chain, const WeightCall& call, const Tape& tape, int l,
                          Gradients& g, WeightsOwn& own) {
  const int outputs = chain.layer(l).outputs;
  Units& units = own.units;
  bool finite = true, kept = true;
  if (all_outputs(chain, tape, l))
    units.choose_all(outputs);
  else
    units.choose(outputs, [&](int k) {
      bool any = false;
      for (int p = 0; p < tape.parts; ++p) any = any || passes(tape.at(l + 1, p).uses, k);
      return any;
    });
  if (l + 1 == chain.depth()) {
    for (int s = 0; s < tape.batch; ++s)
      finite &= take(call.gradient + static_cast<std::size_t>(s) * outputs, outputs, g.row(s), g.stride);
  } else {
    const TrainLayer& after = chain.layer(l + 1);
    kept = after.alpha == 0.0f || own.odd.empty();
    carry(after, units, tape.batch, g);
    for (int p = 0; p < tape.parts; ++p)
      finite &= add_inputs(tape.at(l + 1, p).uses, units, {g.row(tape.first(p)), g.stride, g.unit});
  }
  own.odd.clear();
  for (int s = 0; !(finite && kept) && s < tape.batch; ++s)
    if (!all_finite(g.row(s), units.count)) own.odd.push_back(s);
}

struct Span {
  int from, until;
};

// The t-th share of a layer's inputs: equal numbers of uses and rows.
inline Span share(const uint32_t* before, int inputs, int t, int threads) {
  const auto bound = [&](int i) {
    const uint64_t total = uint64_t{before[inputs]} + inputs, wanted = total * i / threads;
    int low = 0, high = inputs;
    while (low < high) {
      const int k = (low + high) / 2;
      before[k] + static_cast<uint64_t>(k) < wanted ? low = k + 1 : high = k;
    }
    return low;
  };
  return {bound(t), bound(t + 1)};
}

// Zero times a gradient that is not finite is no number: where input k was not active, it is used too.
inline uint32_t add_odd(const std::vector<uint32_t>& odd, Use* uses, uint32_t n) {
  const uint32_t active = n;
  for (const uint32_t s : odd)
    if (std::none_of(uses, uses + active, [&](const Use& use) { return use.site == s; }))
      uses[n++] = {s, 0.0f};
  return n;
}

// The inputs of share t that are to be updated, and their uses, part after part.
inline void gather_uses(const Tape& tape, int l, const Update& u, int inputs, int t, int threads,
                        WeightsOwn& own) {
  own.before.assign(static_cast<std::size_t>(inputs) + 1, 0);
  for (int p = 0; p < tape.parts; ++p)
    for (int k = 0; k <= inputs; ++k)
      own.before[static_cast<std::size_t>(k)] += tape.at(l, p).uses.begin[2 * k];
  const uint32_t* before = own.before.data();
  const Span mine = share(before, inputs, t, threads);
  own.uses.resize(before[mine.until] - before[mine.from] +
                  own.odd.size() * static_cast<std::size_t>(mine.until - mine.from) + 1);
  Use* to = own.uses.data();
  own.rows.clear();
  own.begin.assign(1, 0);
  uint32_t n = 0;
  for (int k = mine.from; k < mine.until; ++k) {
    const uint32_t from = n;
    for (int p = 0; p < tape.parts; ++p) {
      const Uses& uses = tape.at(l, p).uses;
      const auto first = static_cast<uint32_t>(tape.first(p));
      for (uint32_t e = uses.begin[2 * k]; e < uses.begin[2 * k + 2]; ++e)
        to[n++] = {uses.use[e].site + first, uses.use[e].value};
    }
    n = from + add_odd(own.odd, to + from, n - from);
    if (n == from && idle(u, k)) continue;
    own.rows.push_back(k);
    own.begin.push_back(n);
  }
}

// Rows [from, until) of those to be updated: a panel of the gradients stays in the first-level cache while
// they pass.
inline void update_rows(const TrainLayer& layer, const Update& u, const Gradients& g, int batch,
                        std::size_t from, std::size_t until, WeightsOwn& own) {
  const auto place = [&](std::size_t i) { return static_cast<std::size_t>(own.rows[i]) * layer.outputs; };
  const auto fetch = [&](std::size_t i) {
    for (const float* tensor : {u.to, u.first, u.second})
      if (tensor) prefetch<2>(tensor + place(i), layer.outputs);
  };
  const Panels panels(own.units.count, nearest(batch));
  for (int p = 0; p < panels.count; ++p)
    with_vectors(vectors_of(panels.held(p)), [&](auto vectors) {
      const int first = panels.first(p);
      for (std::size_t i = from; i < until; ++i) {
        if (p == 0) fetch(i);
        sum_uses<vectors()>(own.uses.data() + own.begin[i], own.begin[i + 1] - own.begin[i],
                            {g.data + first, g.stride}, layer.scale * g.unit,
                            own.sums.data() + (i - from) * g.stride + first);
      }
    });
  for (std::size_t i = from; i < until; ++i) {
    const float* sums = own.sums.data() + (i - from) * g.stride;
    const bool zero = apply_sums(u, own.units, own.full.data(), sums, place(i), layer.outputs);
    if (u.live) u.live[own.rows[i]] = !zero;
  }
}

// Share t of every layer's rows, and every so many biases.
inline void weights_part(const TrainChain& chain, const WeightCall& call, const Tape& tape, int t,
                         int threads) {
  constexpr std::size_t ROWS = 128;  // that pass together
  thread_local WeightsOwn own;
  const std::size_t stride = widest(chain);
  own.gradients.resize(tape.batch * stride);
  own.sums.resize(ROWS * stride);
  own.full.resize(stride);
  std::fill(own.full.data(), own.full.data() + stride, 0.0f);
  Gradients g{own.gradients.data(), stride};
  for (int l = chain.depth() - 1; l >= lowest_wanted(call) && tape.at(l, 0).uses.begin; --l) {
    const TrainLayer& layer = chain.layer(l);
    const Update &weight = call.weight[static_cast<std::size_t>(l)],
                 &bias = call.bias[static_cast<std::size_t>(l)];
    take_gradient(chain, call, tape, l, g, own);
    if (bias.rule != Rule::none && l % threads == t) {
      sum_all(g, tape.batch, layer.scale * g.unit, own.units.count, own.sums.data());
      apply_sums(bias, own.units, own.full.data(), own.sums.data(), 0, layer.outputs);
    }
    if (weight.rule == Rule::none) continue;
    gather_uses(tape, l, weight, layer.inputs, t, threads, own);
    for (std::size_t i = 0; i < own.rows.size(); i += ROWS)
      update_rows(layer, weight, g, tape.batch, i, std::min(own.rows.size(), i + ROWS), own);
  }
}

}  // namespace SF_ISA
}  // namespace sparsefield
