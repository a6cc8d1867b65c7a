// Convolutions on lists: a thread takes some images through every layer, and the gradient back.
//
// An output pixel sums the weight rows of the active inputs of its window; the gradient of an active,
// unclipped input sums dot products with those same rows over the outputs that it reaches.
#pragma once

#include "train_backward.h"

namespace sparsefield {
namespace SF_ISA {

constexpr std::size_t PANEL = 600 << 10;  // bytes of a panel of weights, all taps: in the second-level cache
constexpr std::size_t IMAGES = 512 << 10;  // and of a part's activations, were they dense

struct ConvolutionOwn {
  Workspace lists;
  Array<float> stream, weight;
  Array<uint32_t> index;  // of a window
  Array<float> value;
};

struct ConvolutionBackwardOwn : BackwardOwn {
  Array<uint32_t> index, entry;  // of the unclipped
  Array<int> end;                // [sites]
};

// From the gradient of h of a layer at all units to that of the layer before, whose entries the tape holds;
// whether all are finite.
inline bool carry(const TrainLayer& layer, const TapePart& part, int s, float* row) {
  part.with_index([&](const auto* index) {
    const int padded = vectors_of(layer.inputs) * W;
    for (int i = 0; i < padded; i += W) store(row + i, all(layer.alpha) * load(row + i));
    for (uint32_t e = part.begin(s); e < part.end[s]; ++e) row[index[e]] += part.gradient[e];
  });
  return all_finite(row, layer.inputs);
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

// The unclipped entries of a part, and the inputs that any of them is.
inline void choose(const TrainLayer& layer, const TapePart& part, int samples, ConvolutionBackwardOwn& own) {
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
  own.next.choose_seen(layer.inputs);
}

// A layer as it is between images of two sizes: with no skip where they differ.
inline TrainLayer between(const TrainLayer& layer, const Stage& stage) {
  TrainLayer same = layer;
  if (!(stage.in == stage.out)) same.alpha = 0.0f, same.scale = 1.0f;
  return same;
}

inline int rows_of(const TrainLayer& layer) { return layer.inputs * layer.window.taps(); }

inline Units all_units(int width) {
  Units units;
  units.choose_all(width);
  return units;
}

// `held` of the chosen outputs of every weight row, from the c-th on, side by side.
inline void copy_outputs(const TrainLayer& layer, const float* weight, const Units& chosen, int c, int held,
                         float* to, std::size_t stride) {
  const auto outputs = static_cast<std::size_t>(layer.outputs);
  const int rows = rows_of(layer);
  if (chosen.all) return copy_rows(weight + c, outputs, all_units(rows), 0, rows, held, to, stride);
  const uint32_t* unit = chosen.unit.data() + c;
  for (int k = 0; k < rows; ++k, weight += outputs, to += stride) {
    for (int j = 0; j < held; ++j) to[j] = weight[unit[j]];
    std::fill(to + held, to + stride, 0.0f);
  }
}

// Calls f with each panel of the chosen outputs and its number of vectors as a constant, once `copy` holds
// its weights.
template <class Then>
void for_panels(const TrainLayer& layer, const float* weight, const Units& chosen, Array<float>& copy,
                Then f) {
  const int rows = rows_of(layer);
  const auto fits = static_cast<int>(PANEL / (sizeof(Vec) * static_cast<std::size_t>(rows)));
  const Panels panels(chosen.count, std::clamp(fits, 4, 8));
  copy.resize(static_cast<std::size_t>(rows) * panels.vectors * W);
  for (int p = 0; p < panels.count; ++p)
    with_vectors(vectors_of(panels.held(p)), [&](auto vectors) {
      copy_outputs(layer, weight, chosen, panels.first(p), panels.held(p), copy.data(), vectors() * W);
      f(panels, p, vectors);
    });
}

inline Bits widened(const uint16_t* index) {
  return __builtin_convertvector(*reinterpret_cast<const HalvesLoose*>(index), Bits);
}
inline Bits widened(const uint32_t* index) { return *reinterpret_cast<const BitsLoose*>(index); }

// The active inputs of the window of output pixel o of an image whose pixels begin at `site`, as weight rows;
// their number.
template <class Index>
int gather_window(const std::vector<Tap>& taps, const TapePart& in, const Index* index, int site, int o,
                  int inputs, ConvolutionOwn& own) {
  int n = 0;
  for (const Tap& tap : taps) {
    const int from = tap.source[static_cast<std::size_t>(o)];
    if (from < 0) continue;
    const uint32_t begin = in.begin(site + from), end = in.end[site + from];
    const Bits row = Bits{} + static_cast<uint32_t>(tap.number * inputs);
    for (uint32_t e = begin; e < end; e += W) {
      const int at = n + static_cast<int>(e - begin);
      *reinterpret_cast<BitsLoose*>(own.index.data() + at) = widened(index + e) + row;
      store(own.value.data() + at, load(in.value.get() + e));
    }
    n += static_cast<int>(end - begin);
  }
  return n;
}

// h of a layer for some images, from its inputs' lists.
inline void convolve(const Stage& stage, const float* weight, const TapePart& in, const Outputs& to,
                     int images, ConvolutionOwn& own) {
  const TrainLayer& layer = to.layer;
  if (to.lists) to.lists->clear(images * stage.out.pixels());
  const Units every = all_units(layer.outputs);
  for_panels(layer, weight, every, own.weight, [&](const Panels& panels, int p, auto vectors) {
    constexpr int V = vectors();
    const Lanes last = last_of(panels.held(p));
    in.with_index([&](const auto* index) {
      for (int i = 0; i < images; ++i)
        for (int o = 0; o < stage.out.pixels(); ++o) {
          const int n =
              gather_window(*stage.taps, in, index, i * stage.in.pixels(), o, layer.inputs, own);
          Vec h[V] = {};
          add_active<Format::float32, V>(h, own.weight.data(), own.index.data(), own.value.data(), n);
          finish<V>(to, h, i * stage.out.pixels() + o, panels.first(p), last);
        }
    });
  });
}

// The largest image, in pixels.
inline int largest(const Tape& tape) {
  int n = 0;
  for (const Stage& stage : tape.stages) n = std::max({n, stage.in.pixels(), stage.out.pixels()});
  return n;
}

inline bool any_skip(const TrainChain& chain) {
  bool any = false;
  for (const TrainLayer& layer : chain.layers) any |= layer.alpha != 0.0f;
  return any;
}

inline std::vector<Window> windows(const TrainChain& chain) {
  std::vector<Window> found;
  for (const TrainLayer& layer : chain.layers) found.push_back(layer.window);
  return found;
}

// Into how many parts the images go: as many for each thread, and so small that their rows stay near.
inline int parts_of_images(const TrainChain& chain, const ForwardCall& call, const Tape& tape) {
  const std::size_t bytes = static_cast<std::size_t>(largest(tape)) * widest(chain) * sizeof(float);
  const auto images = static_cast<int>(std::max<std::size_t>(1, IMAGES / bytes));
  const int rounds = (call.batch + images * call.threads - 1) / (images * call.threads);
  return std::max(1, std::min(call.batch, rounds * call.threads));
}

inline void forward_images(const TrainChain& chain, const Parameters& at, const ForwardCall& call, Tape& tape,
                           int p) {
  thread_local ConvolutionOwn own;
  const int images = tape.samples(p), sites = images * largest(tape);
  const std::size_t stride = widest(chain);
  const bool skip = any_skip(chain);
  std::size_t most = 0;  // inputs of a window
  for (const TrainLayer& layer : chain.layers)
    most = std::max(most, static_cast<std::size_t>(rows_of(layer)) + W);
  own.lists.reserve(sites, static_cast<int>(stride));
  own.index.resize(most);
  own.value.resize(most);
  if (skip) own.stream.resize(sites * stride);
  float* stream = skip ? own.stream.data() : nullptr;
  const TrainLayer& first = chain.layer(0);
  receive(first, call.x + static_cast<std::size_t>(tape.first(p)) * tape.stages[0].in.pixels() * first.inputs,
          own.lists, stream, stride, tape.sites(0, p));
  for (int l = 0; l < chain.depth(); ++l) {
    const bool last = l + 1 == chain.depth();
    const auto here = static_cast<std::size_t>(l);
    const Stage& stage = tape.stages[here];
    const TrainLayer layer = between(chain.layer(l), stage);
    remember(own.lists, tape.sites(l, p), layer.inputs, tape.at(l, p));
    float* rows = call.out + static_cast<std::size_t>(tape.first(p)) * stage.out.pixels() * layer.outputs;
    convolve(stage, at.weight[here], tape.at(l, p),
             {layer, at.bias[here], last ? nullptr : &own.lists, last ? nullptr : &chain.layer(l + 1), rows,
              stream, stride},
             images, own);
    if (!call.keep) tape.at(l, p) = TapePart();
  }
}

// What an input pixel's outputs are: rows of their gradient, and where the weights of their taps begin.
struct Reached {
  const float *gradient, *weight;
};

// gradient[entry] += scale * the sum of dot products, for R entries of an input pixel.
template <int R, int V>
void add_window_dots(const std::vector<Reached>& reached, const uint32_t* index, const uint32_t* entry,
                     float scale, float* gradient) {
  Vec sum[4] = {};
  std::size_t row[R];
  for (int r = 0; r < R; ++r) row[r] = std::size_t{index[r]} * V * W;
  for (const Reached& out : reached)
    for (int v = 0; v < V; ++v) {
      const Vec x = load(out.gradient + v * W);
      for (int r = 0; r < R; ++r) sum[r] += x * load(out.weight + row[r] + v * W);
    }
  const Quad total = sums_of(sum);
  for (int r = 0; r < R; ++r) gradient[entry[r]] += scale * total[r];
}

// The gradients of a layer's inputs that were active and unclipped, which `own` holds.
inline void window_gradients(const TrainLayer& layer, const Stage& stage, const float* weight,
                             const Gradients& g, int images, ConvolutionBackwardOwn& own,
                             float* gradient) {
  std::vector<Reached> reached;
  const int in = stage.in.pixels(), out = stage.out.pixels(), *ends = own.end.data();
  for_panels(layer, weight, own.here, own.weight, [&](const Panels& panels, int p, auto vectors) {
    constexpr int V = vectors();
    const std::size_t tap_weights = static_cast<std::size_t>(layer.inputs) * V * W;
    for (int s = 0; s < images * in; ++s) {
      const int begin = s ? ends[s - 1] : 0, end = ends[s];
      if (begin == end) continue;
      reached.clear();
      for (const Tap& tap : *stage.taps)
        if (const int o = tap.target[static_cast<std::size_t>(s % in)]; o >= 0)
          reached.push_back({g.row(s / in * out + o) + panels.first(p),
                             own.weight.data() + static_cast<std::size_t>(tap.number) * tap_weights});
      const uint32_t *index = own.index.data(), *entry = own.entry.data();
      int j = begin;
      for (; j + 4 <= end; j += 4)
        add_window_dots<4, V>(reached, index + j, entry + j, layer.scale, gradient);
      for (; j + 2 <= end; j += 2)
        add_window_dots<2, V>(reached, index + j, entry + j, layer.scale, gradient);
      if (j < end) add_window_dots<1, V>(reached, index + j, entry + j, layer.scale, gradient);
    }
  });
}

// From the gradient of h of a layer at some sites to that of the layer before, which may have another number
// of them, at chosen units; whether all are finite.
inline bool to_layer_before(const TrainLayer& layer, const TapePart& part, int sites, const Units& chosen,
                            const Gradients& g) {
  bool finite = true;
  for (int s = 0; s < sites; ++s)
    finite &= layer.alpha != 0.0f ? carry(layer, part, s, g.row(s)) : scatter(part, s, chosen, g.row(s));
  return finite;
}

// The rows of a part of a call's gradient; whether all are finite.
inline bool take_part(const TrainChain& chain, const Tape& tape, const float* gradient, int p,
                      const Gradients& g) {
  const int outputs = chain.layers.back().outputs, pixels = tape.stages.back().out.pixels();
  const float* from = gradient + static_cast<std::size_t>(tape.first(p)) * pixels * outputs;
  bool finite = true;
  for (int s = 0; s < tape.samples(p) * pixels; ++s)
    finite &= take(from + static_cast<std::size_t>(s) * outputs, outputs, g.row(s), g.stride);
  return finite;
}

// What the gradients of entries are before the dot products: the push on each input, if there is one.
inline void begin_gradients(const TrainLayer& layer, const float* push, uint32_t entries, TapePart& part) {
  part.gradient.reset(new float[entries]);
  float* to = part.gradient.get();
  if (!push) return std::fill(to, to + entries, 0.0f);
  part.with_index([&](const auto* index) {
    for (uint32_t e = 0; e < entries; ++e) {
      const float y = part.value[e], pushed = push[index[e]];
      to[e] = unclipped(layer, y) ? (y < 0.0f ? -pushed : pushed) : 0.0f;
    }
  });
}

inline void backward_images(const TrainChain& chain, const Parameters& at, const BackwardCall& call,
                            Tape& tape, int p) {
  thread_local ConvolutionBackwardOwn own;
  const std::size_t stride = widest(chain), most = static_cast<std::size_t>(tape.samples(p)) * largest(tape);
  own.gradients.resize(most * stride);
  own.end.resize(most);
  const Gradients g{own.gradients.data(), stride};
  take_part(chain, tape, call.gradient, p, g);
  own.here.choose_all(chain.layers.back().outputs);
  for (int l = chain.depth() - 1; l >= call.lowest; --l) {
    const auto here = static_cast<std::size_t>(l);
    const TrainLayer layer = between(chain.layer(l), tape.stages[here]);
    TapePart& part = tape.at(l, p);
    const int sites = tape.sites(l, p);
    const uint32_t entries = part.entries(sites);
    begin_gradients(layer, push_of(call, l), entries, part);
    choose(layer, part, sites, own);
    window_gradients(layer, tape.stages[here], at.weight[here], g, tape.samples(p), own,
                     part.gradient.get());
    // at all units where the skip carries the gradient on, or it is x's
    if (l == call.lowest || layer.alpha != 0.0f || chain.layer(l - 1).alpha != 0.0f)
      own.next.choose_all(layer.inputs);
    to_layer_before(layer, part, sites, own.next, g);
    std::swap(own.here, own.next);
  }
  if (!call.x_gradient) return;
  const int inputs = chain.layer(0).inputs, sites = tape.sites(0, p);
  float* to = call.x_gradient +
              static_cast<std::size_t>(tape.first(p)) * tape.stages[0].in.pixels() * inputs;
  for (int s = 0; s < sites; ++s)
    std::copy(g.row(s), g.row(s) + inputs, to + static_cast<std::size_t>(s) * inputs);
}

}  // namespace SF_ISA
}  // namespace sparsefield
