// Forward: a thread's samples through every layer, whose lists go to the tape.
#pragma once

#include <limits>

#include "layer.h"
#include "train.h"
#include "train_rows.h"

namespace sparsefield {
namespace SF_ISA {

// Lists of some samples, each at its own place of a fixed size.
struct Workspace {
  Array<uint32_t> index;
  Array<float> value;
  Array<int> count, cursor;
  std::size_t stride = 0;

  void reserve(int samples, int width) {
    const std::size_t wanted = leading(width) + W;
    index.resize(wanted * samples);
    value.resize(wanted * samples);
    count.resize(static_cast<std::size_t>(samples));
    cursor.resize(static_cast<std::size_t>(samples));
    stride = wanted;
  }
  void clear(int samples) { std::fill(count.data(), count.data() + samples, 0); }
};

// Append the active of V vectors, of which the last holds `last.n` values, to a list of n; its new number.
template <int V>
int append(uint32_t* index, float* value, int n, int first, const Vec* y, const Lanes& last) {
  for (int v = 0; v < V; ++v) {
    uint32_t lanes = active_lanes(y[v]);
    if (v == V - 1) lanes &= static_cast<uint32_t>((uint64_t{1} << last.n) - 1u);
    pack(lanes, y[v], static_cast<uint32_t>(first + v * W), index + n, value + n);
    n += __builtin_popcount(lanes);
  }
  return n;
}

// sum[v] += value[j] * row (index[j] - from) of a panel, for the n entries of a list whose index is below
// `end`; their number.
template <int V>
int add_rows(Vec* sum, const float* panel, int from, const uint32_t* index, const float* value, int n,
             uint32_t end) {
  constexpr int S = V * W;
  panel -= static_cast<std::ptrdiff_t>(from) * S;
  Vec one[V], other[V] = {};  // two, since the sums of one would wait for one another; and in registers
  for (int v = 0; v < V; ++v) one[v] = sum[v];
  int j = 0;
  for (; j + 1 < n && index[j + 1] < end; j += 2) {
    const float *a = panel + std::size_t{index[j]} * S, *b = panel + std::size_t{index[j + 1]} * S;
    const Vec x = all(value[j]), y = all(value[j + 1]);
    for (int v = 0; v < V; ++v) one[v] += x * load(a + v * W);
    for (int v = 0; v < V; ++v) other[v] += y * load(b + v * W);
  }
  for (; j < n && index[j] < end; ++j) {
    const float* a = panel + std::size_t{index[j]} * S;
    const Vec x = all(value[j]);
    for (int v = 0; v < V; ++v) one[v] += x * load(a + v * W);
  }
  for (int v = 0; v < V; ++v) sum[v] = one[v] + other[v];
  return j;
}

// What one thread has for itself.
struct ForwardOwn {
  Workspace lists[2];
  Array<float> stream, kept, weight;
  Units units[2];  // the inputs that are active anywhere, of layers in turn
};

// Where a layer's h goes, a row for each site.
struct Outputs {
  const TrainLayer& layer;
  const float* bias;
  Workspace* lists;        // of the layer after, or null
  const TrainLayer* next;  // whose activation they are of
  float* rows;             // else [sites, outputs]
  float* stream;           // what a skip carries on, or null
  std::size_t stream_stride;
};

struct LayerRun {
  const float* weight;
  Workspace& in;
  Units& units;  // of the inputs
  Outputs to;
  const float* weight_after;  // of the layer after, which is noted in units_after
  Units& units_after;
  ForwardOwn& own;
  int samples;
};

// Notes what is in the list of sample s of a layer's inputs, and brings the beginnings of the weight rows
// near that are new.
inline void note(const Workspace& in, int s, const TrainLayer& layer, const float* weight, Units& units) {
  constexpr int BEGINNING = 64;
  const uint32_t* index = in.index.data() + s * in.stride;
  for (int i = 0; i < in.count.data()[s]; ++i) {
    uint8_t& seen = units.seen.data()[index[i]];
    if (seen) continue;
    seen = 1;
    prefetch<2>(weight + std::size_t{index[i]} * layer.outputs, std::min(BEGINNING, layer.outputs));
  }
}

// From sums to h, and to where it goes: a list, or a row.
template <int V>
inline void finish(const Outputs& to, const Vec* sum, int s, int first, const Lanes& last) {
  const TrainLayer& layer = to.layer;
  const Vec scale = all(layer.scale), alpha = all(layer.alpha);
  Vec h[V];
  for (int v = 0; v < V; ++v) h[v] = sum[v];
  if (to.bias)
    for (int v = 0; v < V; ++v) h[v] += row_part<V>(to.bias + first, v, last);
  if (layer.scale != 1.0f)
    for (int v = 0; v < V; ++v) h[v] *= scale;
  if (float* stream = to.stream ? to.stream + s * to.stream_stride + first : nullptr) {
    if (layer.alpha != 0.0f)
      for (int v = 0; v < V; ++v) h[v] += alpha * load(stream + v * W);
    for (int v = 0; v < V; ++v) store(stream + v * W, h[v]);
  }
  if (to.lists) {
    activate<V>(h, to.next->phi, to.next->tau, to.next->m);
    const std::size_t at = s * to.lists->stride;
    int& count = to.lists->count.data()[s];
    count = append<V>(to.lists->index.data() + at, to.lists->value.data() + at, count, first, h, last);
    return;
  }
  float* row = to.rows + static_cast<std::size_t>(s) * layer.outputs + first;
  for (int v = 0; v + 1 < V; ++v) store(row + v * W, h[v]);
  last.store(row + (V - 1) * W, h[V - 1]);
}

// A panel of outputs for every sample. Weights come in tiles, copied to where they are aligned and stay near
// while the samples pass; the sums wait in `kept` meanwhile.
template <int V>
void run_panel(const LayerRun& run, const Panels& panels, int p) {
  const Units& units = run.units;
  const auto outputs = static_cast<std::size_t>(run.to.layer.outputs);
  const int first = panels.first(p), held = panels.held(p);
  const Lanes last = last_of(held);
  const int tile = std::max(64, static_cast<int>(NEAR / (V * W * sizeof(float))));
  float* weight = run.own.weight.data();
  int* cursor = run.in.cursor.data();
  std::fill(cursor, cursor + run.samples, 0);
  for (int from = 0; from < std::max(1, units.count); from += tile) {
    const int until = std::min(units.count, from + tile);
    copy_rows(run.weight + first, outputs, units, from, until, held, weight, V * W);
    const bool ends = until == units.count, last_panel = p + 1 == panels.count;
    Coming coming =
        !ends        ? Coming{run.weight + first, until, std::min(units.count, until + tile), held}
        : last_panel ? Coming{run.weight, 0, 0, 0}
                     : Coming{run.weight + panels.first(p + 1), 0, std::min(units.count, tile),
                              panels.held(p + 1)};
    const int share = (coming.until - coming.from + run.samples - 1) / std::max(1, run.samples);
    for (int s = 0; s < run.samples; ++s) {
      coming.fetch(units, outputs, share);
      Vec h[V] = {};
      float* kept = run.own.kept.data() + static_cast<std::size_t>(s) * MOST * W;
      for (int v = 0; from > 0 && v < V; ++v) h[v] = load(kept + v * W);
      const std::size_t at = s * run.in.stride + cursor[s];
      cursor[s] += add_rows<V>(h, weight, from, run.in.index.data() + at, run.in.value.data() + at,
                               run.in.count.data()[s] - cursor[s], static_cast<uint32_t>(until));
      if (ends)
        finish<V>(run.to, h, s, first, last);
      else
        for (int v = 0; v < V; ++v) store(kept + v * W, h[v]);
      if (ends && last_panel && run.to.lists)
        note(*run.to.lists, s, *run.to.next, run.weight_after, run.units_after);
    }
  }
}

inline void run_layer(const LayerRun& run) {
  Units& units = run.units;
  units.choose_seen(run.to.layer.inputs);
  if (run.to.lists) {
    run.to.lists->clear(run.samples);
    run.units_after.begin(run.to.next->inputs);
  }
  for (int s = 0; s < run.samples && !units.all; ++s) {
    uint32_t* index = run.in.index.data() + s * run.in.stride;
    for (int i = 0; i < run.in.count.data()[s]; ++i) index[i] = units.place.data()[index[i]];
  }
  const Panels panels(run.to.layer.outputs, nearest(units.count));
  run.own.weight.resize(std::max(NEAR / sizeof(float), std::size_t{64} * MOST * W) + WIDEST);
  for (int p = 0; p < panels.count; ++p)
    with_vectors(vectors_of(panels.held(p)), [&](auto vectors) { run_panel<vectors()>(run, panels, p); });
}

// The lists of a chain's input.
inline void receive(const TrainLayer& layer, const float* x, Workspace& to, float* stream,
                    std::size_t stream_stride, int samples) {
  to.clear(samples);
  for (int s = 0; s < samples; ++s) {
    const float* row = x + static_cast<std::size_t>(s) * layer.inputs;
    if (stream) std::copy(row, row + layer.inputs, stream + s * stream_stride);
    for (int first = 0; first < layer.inputs; first += W) {
      const Lanes last(std::min(W, layer.inputs - first));
      Vec y = last.load(row + first);
      activate<1>(&y, layer.phi, layer.tau, layer.m);
      int& count = to.count.data()[s];
      count =
          append<1>(to.index.data() + s * to.stride, to.value.data() + s * to.stride, count, first, &y, last);
    }
  }
}

typedef uint16_t Halves __attribute__((vector_size(W * 2)));
typedef uint16_t HalvesLoose __attribute__((vector_size(W * 2), aligned(2), may_alias));

// From a workspace to as much memory as its entries need.
inline void remember(const Workspace& from, int samples, int width, TapePart& to) {
  std::size_t n = 0;
  to.end.reset(new uint32_t[static_cast<std::size_t>(samples)]);
  for (int s = 0; s < samples; ++s) {
    n += static_cast<std::size_t>(from.count.data()[s]);
    to.end[s] = static_cast<uint32_t>(n);
  }
  to.value.reset(new float[n + W]);  // whole vectors are written
  const bool narrow = width <= std::numeric_limits<uint16_t>::max();
  narrow ? to.narrow.reset(new uint16_t[n + W]) : to.wide.reset(new uint32_t[n + W]);
  Vec odd{};  // stays zero unless a value is not finite
  for (int s = 0; s < samples; ++s) {
    const uint32_t* index = from.index.data() + s * from.stride;
    const float* value = from.value.data() + s * from.stride;
    const int count = from.count.data()[s];
    const uint32_t at = to.begin(s);
    for (int i = 0; i < count; i += W) {
      const Vec x = load(value + i);
      store(to.value.get() + at + i, x);
      odd += (i + W <= count ? x : Lanes(count - i).load(value + i)) * all(0.0f);
      const Bits k = *reinterpret_cast<const BitsLoose*>(index + i);
      if (narrow)
        *reinterpret_cast<HalvesLoose*>(to.narrow.get() + at + i) = __builtin_convertvector(k, Halves);
      else
        *reinterpret_cast<BitsLoose*>(to.wide.get() + at + i) = k;
    }
  }
  to.finite = !active_lanes(odd);
}

inline void forward_part(const TrainChain& chain, const Parameters& at, const ForwardCall& call, Tape& tape,
                         int p) {
  thread_local ForwardOwn own;
  const int first = tape.first(p), samples = tape.samples(p);
  int widest = 0;
  bool skip = false;
  for (const TrainLayer& layer : chain.layers) {
    widest = std::max({widest, layer.inputs, layer.outputs});
    skip |= layer.alpha != 0.0f;
  }
  const std::size_t stride = leading(widest);
  for (Workspace& lists : own.lists) lists.reserve(samples, widest);
  own.kept.resize(static_cast<std::size_t>(samples) * MOST * W);
  if (skip) own.stream.resize(samples * stride);
  float* stream = skip ? own.stream.data() : nullptr;
  const TrainLayer& lowest = chain.layer(0);
  receive(lowest, call.x + static_cast<std::size_t>(first) * lowest.inputs, own.lists[0], stream, stride,
          samples);
  own.units[0].begin(lowest.inputs);
  for (int s = 0; s < samples; ++s) note(own.lists[0], s, lowest, at.weight[0], own.units[0]);
  for (int l = 0; l < chain.depth(); ++l) {
    const TrainLayer& layer = chain.layer(l);
    const bool last = l + 1 == chain.depth();
    const auto here = static_cast<std::size_t>(l);
    Workspace &in = own.lists[l % 2], &out = own.lists[(l + 1) % 2];
    if (call.keep) remember(in, samples, layer.inputs, tape.at(l, p));
    const LayerRun run{at.weight[here],
                       in,
                       own.units[l % 2],
                       {layer, at.bias[here], last ? nullptr : &out, last ? nullptr : &chain.layer(l + 1),
                        call.out + static_cast<std::size_t>(first) * layer.outputs, stream, stride},
                       last ? nullptr : at.weight[here + 1],
                       own.units[(l + 1) % 2],
                       own,
                       samples};
    run_layer(run);
  }
}

}  // namespace SF_ISA
}  // namespace sparsefield
