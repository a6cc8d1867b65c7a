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

// One site at which an input was active.
struct Use {
  uint32_t site;
  float value;
};

// One panel of a row: to = scale * the sum of value * gradient over the uses of an input.
template <int V>
void sum_uses(const Use* uses, uint32_t count, const Gradients& g, float scale, float* to) {
  Vec sum[V] = {}, other[V] = {};
  uint32_t i = 0;
  for (; i + 1 < count; i += 2) {
    const float *a = g.row(static_cast<int>(uses[i].site)),
                *b = g.row(static_cast<int>(uses[i + 1].site));
    const Vec x = all(uses[i].value), y = all(uses[i + 1].value);
    for (int v = 0; v < V; ++v) sum[v] += x * load(a + v * W);
    for (int v = 0; v < V; ++v) other[v] += y * load(b + v * W);
  }
  if (i < count)
    for (int v = 0; v < V; ++v)
      sum[v] += all(uses[i].value) * load(g.row(static_cast<int>(uses[i].site)) + v * W);
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
bool apply_all(const Update& u, const float* gradient, std::size_t at, int n) {
  const int vectors = vectors_of(n);
  bool zero = true;
  for (int v = 0; v + 1 < vectors; ++v) zero &= apply_rule<R>(u, load(gradient + v * W), at + v * W, Whole());
  return apply_rule<R>(u, load(gradient + (vectors - 1) * W), at + (vectors - 1) * W, last_of(n)) && zero;
}

template <class Then>
void with_rule(Rule rule, Then f) {
  if (rule == Rule::gradient) f(std::integral_constant<Rule, Rule::gradient>());
  if (rule == Rule::sgd) f(std::integral_constant<Rule, Rule::sgd>());
  if (rule == Rule::adam) f(std::integral_constant<Rule, Rule::adam>());
}

struct WeightsOwn {
  Array<float> gradients;
  Array<float> sums, full;  // of a row: at chosen units, and at all
  Array<uint32_t> begin;    // [inputs + 1]: the uses of an input
  Array<Use> uses;
  std::vector<uint8_t> odd;  // [batch]: the gradient of h holds a NaN or an infinity
  Units units;
};

constexpr int ROWS = 64;  // whose sums are made together

// What an update does with the sums of a row, which are at chosen units.
inline bool apply_sums(const Update& u, WeightsOwn& own, const float* sums, std::size_t at, int outputs) {
  const Units& units = own.units;
  if (!units.all && u.rule == Rule::sgd && !u.first && u.decay == 0.0f) {
    for (int j = 0; j < units.count; ++j) u.to[at + units.unit.data()[j]] -= u.lr * sums[j];
    return true;
  }
  float* full = own.full.data();  // zero between calls
  for (int j = 0; !units.all && j < units.count; ++j) full[units.unit.data()[j]] = sums[j];
  bool zero = true;
  with_rule(u.rule, [&](auto rule) { zero = apply_all<rule()>(u, units.all ? sums : full, at, outputs); });
  for (int j = 0; !units.all && j < units.count; ++j) full[units.unit.data()[j]] = 0.0f;
  return zero;
}

// Whether the inputs of a layer are: zero times one that is not is no number.
inline bool all_finite(const Tape& tape, int l) {
  bool all = true;
  for (int p = 0; p < tape.parts; ++p) all &= tape.at(l, p).finite;
  return all;
}

// The units of a layer's outputs that have a gradient anywhere; all where a skip carries it on.
inline void choose_outputs(const TrainChain& chain, const Tape& tape, int l, Units& units) {
  const int outputs = chain.layer(l).outputs;
  units.choose_all(outputs);
  if (l + 1 == chain.depth() || !all_finite(tape, l)) return;
  if (chain.layer(l).alpha != 0.0f || chain.layer(l + 1).alpha != 0.0f) return;
  units.begin(outputs);
  for (int p = 0; p < tape.parts; ++p) {
    const TapePart& part = tape.at(l + 1, p);
    const uint32_t entries = part.entries(tape.sites(l + 1, p));
    part.with_index([&](const auto* index) {
      for (uint32_t e = 0; e < entries; ++e) units.seen.data()[index[e]] |= part.gradient[e] != 0.0f;
    });
  }
  units.end(outputs);
}

// The gradient of h of layer l, at all units or at those that any sample has: from the call, or from the
// tape's entries of the layer after it.
inline void take_gradient(const TrainChain& chain, const WeightCall& call, const Tape& tape, int l,
                          const Gradients& g, WeightsOwn& own) {
  const int outputs = chain.layer(l).outputs;
  choose_outputs(chain, tape, l, own.units);
  if (l + 1 == chain.depth()) {
    for (int s = 0; s < tape.batch; ++s) {
      take(call.gradient + static_cast<std::size_t>(s) * outputs, outputs, g.row(s), g.stride);
      Vec sum{};
      for (int i = 0; i < outputs; i += W) sum += load(g.row(s) + i) * all(0.0f);
      own.odd[static_cast<std::size_t>(s)] = active_lanes(sum) != 0;
    }
    return;
  }
  const TrainLayer& after = chain.layer(l + 1);
  for (int p = 0, sample = 0; p < tape.parts; ++p)
    for (int s = 0; s < tape.samples(p); ++s, ++sample)
      own.odd[static_cast<std::size_t>(sample)] =
          after.alpha != 0.0f ? !carry(after, tape.at(l + 1, p), s, g.row(sample))
                              : !scatter(tape.at(l + 1, p), s, own.units, g.row(sample));
}

// Calls f with the site, the input and the value of every use in a part; where the gradient at a site is not
// finite every input is used, as dense products have it: zero times infinity is no number.
template <class Odd, class Then>
void for_uses_of(const TapePart& part, int sites, int inputs, Odd odd, Then f) {
  part.with_index([&](const auto* index) {
    for (int s = 0; s < sites; ++s) {
      const auto site = static_cast<uint32_t>(s);
      uint32_t e = part.begin(s);
      const uint32_t end = part.end[s];
      if (!odd(site))
        for (; e < end; ++e) f(site, index[e], part.value[e]);
      else
        for (uint32_t k = 0; k < static_cast<uint32_t>(inputs); ++k) {
          const bool active = e < end && index[e] == k;
          f(site, k, active ? part.value[e] : 0.0f);
          e += active;
        }
    }
  });
}

// The same for all samples.
template <class Then>
void for_uses(const Tape& tape, int l, int inputs, const std::vector<uint8_t>& odd, Then f) {
  for (int p = 0; p < tape.parts; ++p) {
    const auto first = static_cast<uint32_t>(tape.first(p));
    for_uses_of(
        tape.at(l, p), tape.samples(p), inputs, [&](uint32_t s) { return odd[first + s]; },
        [&](uint32_t s, uint32_t k, float value) { f(first + s, k, value); });
  }
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

struct Span {
  int from, until;
};

// The uses of each input, in the order in which `each` calls with them; which are share t.
template <class Each>
Span invert(int inputs, int t, int threads, WeightsOwn& own, Each each) {
  uint32_t* begin = own.begin.data();
  std::fill(begin, begin + inputs + 1, 0u);
  each([&](uint32_t, uint32_t k, float) { ++begin[k]; });
  uint32_t total = 0;  // from counts to beginnings
  for (int k = 0; k <= inputs; ++k) {
    const uint32_t n = begin[k];
    begin[k] = total;
    total += n;
  }
  own.uses.resize(total + 1u);
  const Span mine{share(begin, inputs, t, threads), share(begin, inputs, t + 1, threads)};
  Use* uses = own.uses.data();
  each([&](uint32_t site, uint32_t k, float value) { uses[begin[k]++] = {site, value}; });
  for (int k = inputs; k > 0; --k) begin[k] = begin[k - 1];  // each had moved to its end
  begin[0] = 0;
  return mine;
}

// Rows [from, until), ROWS at most: a panel of the gradients stays in the first-level cache while the rows
// pass.
inline void update_rows(const TrainLayer& layer, const Update& u, const Gradients& g, int batch, int from,
                        int until, WeightsOwn& own) {
  const uint32_t* begin = own.begin.data();
  const auto rests = [&](int k) { return begin[k] == begin[k + 1] && idle(u, k); };
  const Panels panels(own.units.count, nearest(batch));
  until = std::min(until, from + ROWS);
  for (int p = 0; p < panels.count; ++p)
    with_vectors(vectors_of(panels.held(p)), [&](auto vectors) {
      const int first = panels.first(p);
      const Gradients panel{g.data + first, g.stride};
      for (int k = from; k < until; ++k)
        if (!rests(k)) {
          const std::size_t at = static_cast<std::size_t>(k) * layer.outputs + first;
          for (const float* row : {u.to, u.first, u.second})
            if (row) prefetch(row + at, panels.held(p));
          sum_uses<vectors()>(own.uses.data() + begin[k], begin[k + 1] - begin[k], panel, layer.scale,
                              own.sums.data() + (k - from) * g.stride + first);
        }
    });
  for (int k = from; k < until; ++k) {
    if (rests(k)) continue;
    const bool zero = apply_sums(u, own, own.sums.data() + (k - from) * g.stride,
                                 static_cast<std::size_t>(k) * layer.outputs, layer.outputs);
    if (u.live) u.live[k] = !zero;
  }
}

// The first layer that is to be updated, or their number.
inline int lowest_wanted(const WeightCall& call) {
  std::size_t l = 0;
  while (l < call.weight.size() && call.weight[l].rule == Rule::none && call.bias[l].rule == Rule::none) ++l;
  return static_cast<int>(l);
}

// Share t of every layer's rows, and every so many biases.
inline void weights_part(const TrainChain& chain, const WeightCall& call, const Tape& tape, int t,
                         int threads) {
  thread_local WeightsOwn own;
  const int depth = chain.depth();
  const std::size_t stride = widest(chain);
  own.gradients.resize(tape.batch * stride);
  own.begin.resize(stride + 1);
  own.sums.resize(ROWS * stride);
  own.full.resize(stride);
  std::fill(own.full.data(), own.full.data() + stride, 0.0f);
  own.odd.assign(static_cast<std::size_t>(tape.batch), 0);
  const Gradients g{own.gradients.data(), stride};
  for (int l = depth - 1; l >= lowest_wanted(call); --l) {
    const TrainLayer& layer = chain.layer(l);
    const Update &weight = call.weight[static_cast<std::size_t>(l)],
                 &bias = call.bias[static_cast<std::size_t>(l)];
    take_gradient(chain, call, tape, l, g, own);
    const int n = own.units.count;
    if (bias.rule != Rule::none && l % threads == t) {
      sum_all(g, tape.batch, layer.scale, n, own.sums.data());
      apply_sums(bias, own, own.sums.data(), 0, layer.outputs);
    }
    if (weight.rule == Rule::none) continue;
    const Span mine = invert(layer.inputs, t, threads, own,
                             [&](auto then) { for_uses(tape, l, layer.inputs, own.odd, then); });
    for (int k = mine.from; k < mine.until; k += ROWS)
      update_rows(layer, weight, g, tape.batch, k, mine.until, own);
  }
}

}  // namespace SF_ISA
}  // namespace sparsefield
