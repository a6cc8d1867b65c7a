// Weight gradients of convolutions, an input channel at a time: a thread owns channels, and takes part after
// part of the images, whose gradients it keeps near.
#pragma once

#include "train_convolution.h"
#include "train_weights.h"

namespace sparsefield {
namespace SF_ISA {

constexpr int TOGETHER = 3;  // taps whose sums stay in registers, of panels of so many vectors
constexpr int TAP_PANEL = 4;

struct ConvolutionWeightsOwn {
  Array<float> gradients;
  Array<float> sums, bias;      // [taps, channels owned, stride], [stride]
  Array<float> full;            // [stride]: see apply_sums
  std::vector<uint32_t> begin;  // [channels + 1]: the uses of a channel
  Array<Use> uses;
  Units units;
  Array<uint32_t> offset;       // [taps, sites of a part]: where the gradient that a site reaches begins
  std::vector<uint8_t> used;    // [channels]
};

// to[t] += the sum of value * gradient over the uses of a channel, for T taps. With CHECKED, what lies beyond
// the image is left out; else it is a row of zeros.
template <int V, int T, bool CHECKED>
void sum_taps(const Use* uses, uint32_t count, const uint32_t* offset, std::size_t sites, uint32_t beyond,
              const float* gradient, float* to, std::size_t apart) {
  Vec sum[T][V];
  for (int t = 0; t < T; ++t)
    for (int v = 0; v < V; ++v) sum[t][v] = load(to + t * apart + v * W);
  for (uint32_t i = 0; i < count; ++i) {
    const Vec x = all(uses[i].value);
    for (int t = 0; t < T; ++t) {
      const uint32_t at = offset[t * sites + uses[i].site];
      if (CHECKED && at == beyond) continue;
      for (int v = 0; v < V; ++v) sum[t][v] += x * load(gradient + at + v * W);
    }
  }
  for (int t = 0; t < T; ++t)
    for (int v = 0; v < V; ++v) store(to + t * apart + v * W, sum[t][v]);
}

// One layer for one part of the images.
struct WeightsPart {
  const TrainLayer& layer;
  const std::vector<Tap>& taps;
  const Gradients& g;
  Span mine;
  std::size_t sites;
  uint32_t beyond;
  bool finite;  // all values are
  ConvolutionWeightsOwn& own;
};

template <int V, int T, bool CHECKED>
void sum_channels(const WeightsPart& part, std::size_t tap, int first) {
  ConvolutionWeightsOwn& own = part.own;
  const auto channels = static_cast<std::size_t>(part.mine.until - part.mine.from);
  const uint32_t* begin = own.begin.data();
  float* to = own.sums.data() + static_cast<std::size_t>(part.taps[tap].number) * channels * part.g.stride;
  for (int k = part.mine.from; k < part.mine.until; ++k)
    if (begin[k] != begin[k + 1])
      sum_taps<V, T, CHECKED>(own.uses.data() + begin[k], begin[k + 1] - begin[k],
                              own.offset.data() + tap * part.sites, part.sites, part.beyond,
                              part.g.data + first,
                              to + static_cast<std::size_t>(k - part.mine.from) * part.g.stride + first,
                              channels * part.g.stride);
}

// Whether the sums of so many taps lie side by side: one that reads nothing is left out, and where wide
// padding reads a pixel twice two have the same.
inline bool follow(const std::vector<Tap>& taps, std::size_t first) {
  if (first + TOGETHER > taps.size()) return false;
  for (int t = 1; t < TOGETHER; ++t)
    if (taps[first + static_cast<std::size_t>(t)].number != taps[first].number + t) return false;
  return true;
}

// Adds a part's share to the sums of the channels owned.
inline void sum_part(const WeightsPart& part) {
  const Panels panels(part.own.units.count, TAP_PANEL);
  for (int p = 0; p < panels.count; ++p)
    with_vectors(vectors_of(panels.held(p)), [&](auto vectors) {
      constexpr int V = std::min(TAP_PANEL, int{vectors()});
      const int first = panels.first(p);
      for (std::size_t tap = 0; tap < part.taps.size();) {
        const bool together = part.finite && follow(part.taps, tap);
        together      ? sum_channels<V, TOGETHER, false>(part, tap, first)
        : part.finite ? sum_channels<V, 1, false>(part, tap, first)
                      : sum_channels<V, 1, true>(part, tap, first);
        tap += together ? TOGETHER : 1;
      }
    });
}

// Where the gradient begins that each site of a part reaches by each tap.
inline void reach(const Stage& stage, int images, std::size_t stride, uint32_t beyond, uint32_t* offset) {
  for (const Tap& tap : *stage.taps)
    for (int i = 0; i < images; ++i)
      for (const int32_t o : tap.target)
        *offset++ = o < 0 ? beyond : static_cast<uint32_t>((i * stage.out.pixels() + o) * stride);
}

// What becomes of the sums of the channels owned.
inline void update_channels(const TrainLayer& layer, const Update& u, Span mine, std::size_t stride,
                            ConvolutionWeightsOwn& own) {
  const int channels = mine.until - mine.from;
  for (int k = mine.from; k < mine.until; ++k) {
    if (!own.used[static_cast<std::size_t>(k)] && idle(u, k)) continue;
    bool zero = true;
    for (int t = 0; t < layer.window.taps(); ++t) {
      float* sums = own.sums.data() + static_cast<std::size_t>(t * channels + k - mine.from) * stride;
      for (int c = 0; c < own.units.count; c += W) store(sums + c, all(layer.scale) * load(sums + c));
      const std::size_t at = static_cast<std::size_t>(t * layer.inputs + k) * layer.outputs;
      zero &= apply_sums(u, own.units, own.full.data(), sums, at, layer.outputs);
    }
    if (u.live) u.live[k] = !zero;
  }
}

inline void update_bias(const TrainLayer& layer, const Update& u, ConvolutionWeightsOwn& own) {
  for (int c = 0; c < own.units.count; c += W)
    store(own.bias.data() + c, all(layer.scale) * load(own.bias.data() + c));
  apply_sums(u, own.units, own.full.data(), own.bias.data(), 0, layer.outputs);
}

// The units of a layer's outputs that have a gradient anywhere.
inline void choose_outputs(const TrainChain& chain, const Tape& tape, int l, Units& units) {
  const int outputs = chain.layer(l).outputs;
  if (all_outputs(chain, tape, l)) return units.choose_all(outputs);
  units.begin(outputs);
  for (int p = 0; p < tape.parts; ++p) {
    const TapePart& part = tape.at(l + 1, p);
    const uint32_t entries = part.entries(tape.sites(l + 1, p));
    part.with_index([&](const auto* index) {
      for (uint32_t e = 0; e < entries; ++e) units.seen.data()[index[e]] |= part.gradient[e] != 0.0f;
    });
  }
  units.choose_seen(outputs);
}

// The gradient of h of layer l for a part, from the call's or that of the layer after; whether all are
// finite.
inline bool part_gradient(const TrainChain& chain, const WeightCall& call, const Tape& tape, int l, int p,
                          const Units& chosen, const Gradients& g) {
  if (l + 1 == chain.depth()) return take_part(chain, tape, call.gradient, p, g);
  const TrainLayer after = between(chain.layer(l + 1), tape.stages[static_cast<std::size_t>(l) + 1]);
  return to_layer_before(after, tape.at(l + 1, p), tape.sites(l + 1, p), chosen, g);
}

// The gradients of h of a layer, part by part. A skip carries those of every part from layer to layer; else
// one part after the other has the same place. A row of zeros follows each.
struct PartGradients {
  Array<float>& memory;
  std::size_t stride, beyond;
  bool skip;

  PartGradients(const TrainChain& chain, const Tape& tape, Array<float>& in)
      : memory(in), stride(widest(chain)), beyond(0), skip(any_skip(chain)) {
    for (int p = 0; p < tape.parts; ++p)
      beyond = std::max(beyond, static_cast<std::size_t>(tape.samples(p)) * largest(tape) * stride);
    memory.resize((skip ? static_cast<std::size_t>(tape.parts) : 1) * (beyond + stride));
  }
  Gradients at(int p) const {
    float* data = memory.data() + (skip ? static_cast<std::size_t>(p) * (beyond + stride) : 0);
    std::fill(data + beyond, data + beyond + stride, 0.0f);
    return {data, stride};
  }
};

// Calls f with the site, the input and the value of every use in a part; where the gradients are not finite
// every input is used, as dense products have it: zero times infinity is no number.
template <class Then>
void for_uses(const TapePart& part, int sites, int inputs, bool finite, Then f) {
  part.with_index([&](const auto* index) {
    for (int s = 0; s < sites; ++s) {
      const auto site = static_cast<uint32_t>(s);
      uint32_t e = part.begin(s);
      const uint32_t end = part.end[s];
      if (finite)
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

// The sums of a layer's weight gradients for share t of its channels, which are as the first part has it.
inline void add_weights(const TrainLayer& layer, const Tape& tape, int l, int p, const Gradients& g,
                        std::size_t beyond, bool finite, int t, int threads, Span& mine,
                        ConvolutionWeightsOwn& own) {
  const Stage& stage = tape.stages[static_cast<std::size_t>(l)];
  const TapePart& part = tape.at(l, p);
  const int sites = tape.sites(l, p);
  const auto each = [&](auto then) { for_uses(part, sites, layer.inputs, finite, then); };
  uint32_t* begin = own.begin.data();
  own.uses.resize(count_uses(layer.inputs, begin, each) + 1u);
  place_uses(layer.inputs, begin, own.uses.data(), each);
  if (p == 0) {
    mine = share(begin, layer.inputs, t, threads);
    const auto values = static_cast<std::size_t>((mine.until - mine.from) * layer.window.taps()) * g.stride;
    own.sums.resize(values);
    std::fill(own.sums.data(), own.sums.data() + values, 0.0f);
    own.used.assign(static_cast<std::size_t>(layer.inputs), 0);
  }
  own.offset.resize(static_cast<std::size_t>(sites) * stage.taps->size());
  reach(stage, tape.samples(p), g.stride, static_cast<uint32_t>(beyond), own.offset.data());
  for (int k = mine.from; k < mine.until; ++k)
    own.used[static_cast<std::size_t>(k)] |= begin[k] != begin[k + 1];
  sum_part({layer, *stage.taps, g, mine, static_cast<std::size_t>(sites), static_cast<uint32_t>(beyond),
            part.finite, own});
}

inline void add_bias(const Gradients& g, int sites, int outputs, float* bias) {
  for (int c = 0; c < outputs; c += W) {
    Vec sum = load(bias + c);
    for (int s = 0; s < sites; ++s) sum += load(g.row(s) + c);
    store(bias + c, sum);
  }
}

// Share t of every layer's channels, and every so many biases.
inline void convolution_weights_part(const TrainChain& chain, const WeightCall& call, const Tape& tape, int t,
                                     int threads) {
  thread_local ConvolutionWeightsOwn own;
  const PartGradients gradients(chain, tape, own.gradients);
  own.begin.resize(gradients.stride + 1);
  own.full.resize(gradients.stride);
  std::fill(own.full.data(), own.full.data() + gradients.stride, 0.0f);
  own.bias.resize(gradients.stride);
  for (int l = chain.depth() - 1; l >= lowest_wanted(call); --l) {
    const auto here = static_cast<std::size_t>(l);
    const Stage& stage = tape.stages[here];
    const TrainLayer layer = between(chain.layer(l), stage);
    const Update &weight = call.weight[here], &bias = call.bias[here];
    const bool has_bias = bias.rule != Rule::none && l % threads == t;
    std::fill(own.bias.data(), own.bias.data() + gradients.stride, 0.0f);
    choose_outputs(chain, tape, l, own.units);
    Span mine{0, 0};
    for (int p = 0; p < tape.parts; ++p) {
      const Gradients g = gradients.at(p);
      const bool finite = part_gradient(chain, call, tape, l, p, own.units, g);
      if (has_bias) add_bias(g, tape.samples(p) * stage.out.pixels(), own.units.count, own.bias.data());
      if (weight.rule != Rule::none)
        add_weights(layer, tape, l, p, g, gradients.beyond, finite, t, threads, mine, own);
    }
    if (weight.rule != Rule::none) update_channels(layer, weight, mine, gradients.stride, own);
    if (has_bias) update_bias(layer, bias, own);
  }
}

}  // namespace SF_ISA
}  // namespace sparsefield
