// Forward: a thread's samples through every layer, whose lists go to the tape.
#pragma once

#include <algorithm>
#include <limits>

#include "lanes.h"
#include "layer.h"
#include "train.h"

namespace sparsefield {
namespace SF_ISA {

constexpr int MOST = 10;             // vectors of sums that stay in registers
constexpr std::size_t NEAR = 384 << 10;  // bytes that the second-level cache keeps beside what passes
constexpr std::size_t AHEAD = 512 << 10; // bytes of a layer's weights that are fetched during the one before

// Calls f with the number of vectors as a constant.
template <class Then>
void with_vectors(int vectors, Then f) {
  switch (vectors) {
    case 1: return f(std::integral_constant<int, 1>());
    case 2: return f(std::integral_constant<int, 2>());
    case 3: return f(std::integral_constant<int, 3>());
    case 4: return f(std::integral_constant<int, 4>());
    case 5: return f(std::integral_constant<int, 5>());
    case 6: return f(std::integral_constant<int, 6>());
    case 7: return f(std::integral_constant<int, 7>());
    case 8: return f(std::integral_constant<int, 8>());
    case 9: return f(std::integral_constant<int, 9>());
    default: return f(std::integral_constant<int, 10>());
  }
}

// A row of n values in nearly equal panels of at most MOST vectors.
struct Panels {
  int n, count, vectors;
  explicit Panels(int values)
      : n(values),
        count((vectors_of(values) + MOST - 1) / MOST),
        vectors((vectors_of(values) + count - 1) / count) {}
  int first(int p) const { return p * vectors * W; }
  int held(int p) const { return std::min(vectors * W, n - first(p)); }
  int width() const { return vectors * W; }
};

// A leading dimension of n floats or more that no power of two divides far: rows would share a cache set.
inline std::size_t leading(int n) { return static_cast<std::size_t>(n + 63) / 64 * 64 + 16; }

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

template <int V>
Vec row_part(const float* row, int v, const Lanes& last) {
  return v == V - 1 ? last.load(row + v * W) : load(row + v * W);
}

// sum[v] += value[j] * row index[j], for the n entries of a list whose index is below `end`; their number.
template <int V>
int add_rows(Vec* sum, const float* weight, std::size_t stride, const uint32_t* index, const float* value, int n,
             uint32_t end, const Lanes& last) {
  constexpr bool PAIRS = V <= 4;  // the sums of one row alone would wait for one another
  Vec one[V], other[V] = {};      // in registers: `sum` may be memory that others see
  for (int v = 0; v < V; ++v) one[v] = sum[v];
  int j = 0;
  for (; PAIRS && j + 1 < n && index[j + 1] < end; j += 2) {
    const float *a = weight + index[j] * stride, *b = weight + index[j + 1] * stride;
    const Vec x = all(value[j]), y = all(value[j + 1]);
    for (int v = 0; v < V; ++v) one[v] += x * row_part<V>(a, v, last);
    for (int v = 0; v < V; ++v) other[v] += y * row_part<V>(b, v, last);
  }
  for (; j < n && index[j] < end; ++j) {
    const float* a = weight + index[j] * stride;
    const Vec x = all(value[j]);
    for (int v = 0; v < V; ++v) one[v] += x * row_part<V>(a, v, last);
  }
  for (int v = 0; v < V; ++v) sum[v] = PAIRS ? one[v] + other[v] : one[v];
  return j;
}

// Brings slice `at` of `slices` of `rows` pieces of memory into the second-level cache.
struct Fetch {
  const char* from = nullptr;
  std::size_t stride = 0, piece = 0, rows = 0;
  void operator()(int at, int slices) const {
    const std::size_t begin = rows * static_cast<std::size_t>(at) / slices, end = rows * (at + 1u) / slices;
    for (std::size_t r = begin; r < end; ++r)
      for (std::size_t b = 0; b < piece; b += 64) __builtin_prefetch(from + r * stride + b, 0, 2);
  }
};

inline Fetch whole(const float* weight, std::size_t values) {
  return {reinterpret_cast<const char*>(weight), 64, 64, values * sizeof(float) / 64};
}

// What one thread has for itself.
struct ForwardOwn {
  Workspace lists[2];
  Array<float> stream, kept;
};

struct LayerRun {
  const TrainLayer& layer;
  const float *weight, *bias;
  Workspace& in;
  Workspace* out;         // or null: the last layer
  const TrainLayer* next; // whose phi makes the list
  float* rows;            // [samples, outputs]: h of the last layer
  float* stream;          // [samples, leading]: h, for the skip; or null
  std::size_t stream_stride;
  float* kept;            // [samples, MOST * W]
  int samples;
};

// From sums to h, and to where it goes: a list, or a row.
template <int V>
inline void finish(const LayerRun& run, const Vec* sum, int s, int first, const Lanes& last) {
  const TrainLayer& layer = run.layer;
  const float* bias = run.bias;
  const Vec scale = all(layer.scale), alpha = all(layer.alpha);
  Vec h[V];
  for (int v = 0; v < V; ++v) h[v] = sum[v];
  if (bias)
    for (int v = 0; v < V; ++v) h[v] += row_part<V>(bias + first, v, last);
  if (layer.scale != 1.0f)
    for (int v = 0; v < V; ++v) h[v] *= scale;
  if (float* stream = run.stream ? run.stream + s * run.stream_stride + first : nullptr) {
    if (layer.alpha != 0.0f)
      for (int v = 0; v < V; ++v) h[v] += alpha * load(stream + v * W);
    for (int v = 0; v < V; ++v) store(stream + v * W, h[v]);
  }
  if (run.out) {
    activate<V>(h, run.next->phi, run.next->tau, run.next->m);
    Workspace& to = *run.out;
    int& count = to.count.data()[s];
    count = append<V>(to.index.data() + s * to.stride, to.value.data() + s * to.stride, count, first, h, last);
    return;
  }
  float* row = run.rows + static_cast<std::size_t>(s) * layer.outputs + first;
  for (int v = 0; v + 1 < V; ++v) store(row + v * W, h[v]);
  last.store(row + (V - 1) * W, h[V - 1]);
}

// A panel of outputs for every sample. Inputs come in tiles whose weights stay near while the samples pass;
// the sums wait in `kept` meanwhile.
template <int V>
void run_panel(const LayerRun& run, const Panels& panels, int p, const Fetch& ahead) {
  const auto stride = static_cast<std::size_t>(run.layer.outputs);
  const int first = panels.first(p), inputs = run.layer.inputs;
  const Lanes last = last_of(panels.held(p));
  const int most = std::max(64, static_cast<int>(NEAR / (V * W * sizeof(float))));
  const int tile = inputs <= most ? inputs : most;
  int* cursor = run.in.cursor.data();
  std::fill(cursor, cursor + run.samples, 0);
  for (int from = 0; from < inputs; from += tile) {
    const int until = std::min(inputs, from + tile);
    const Fetch next{reinterpret_cast<const char*>(run.weight + until * stride + first), stride * sizeof(float),
                     V * W * sizeof(float), static_cast<std::size_t>(std::min(inputs, until + tile) - until)};
    for (int s = 0; s < run.samples; ++s) {
      if (until < inputs) next(s, run.samples);
      if (ahead.rows) ahead(p * run.samples + s, panels.count * run.samples);
      Vec h[V] = {};
      float* kept = run.kept + static_cast<std::size_t>(s) * MOST * W;
      for (int v = 0; from > 0 && v < V; ++v) h[v] = load(kept + v * W);
      const std::size_t at = s * run.in.stride + cursor[s];
      cursor[s] += add_rows<V>(h, run.weight + first, stride, run.in.index.data() + at, run.in.value.data() + at,
                               run.in.count.data()[s] - cursor[s], static_cast<uint32_t>(until), last);
      if (until == inputs)
        finish<V>(run, h, s, first, last);
      else
        for (int v = 0; v < V; ++v) store(kept + v * W, h[v]);
    }
  }
}

inline void run_layer(const LayerRun& run, const float* next_weight, std::size_t next_size) {
  const Panels panels(run.layer.outputs);
  if (run.out) run.out->clear(run.samples);
  const Fetch ahead = next_weight && next_size * sizeof(float) <= AHEAD ? whole(next_weight, next_size) : Fetch{};
  for (int p = 0; p < panels.count; ++p)
    with_vectors(vectors_of(panels.held(p)),
                 [&](auto vectors) { run_panel<vectors()>(run, panels, p, ahead); });
}

// The lists of a chain's input.
inline void receive(const TrainLayer& layer, const float* x, Workspace& to, float* stream, std::size_t stream_stride,
                    int samples) {
  to.clear(samples);
  for (int s = 0; s < samples; ++s) {
    const float* row = x + static_cast<std::size_t>(s) * layer.inputs;
    if (stream) std::copy(row, row + layer.inputs, stream + s * stream_stride);
    for (int first = 0; first < layer.inputs; first += W) {
      const Lanes last(std::min(W, layer.inputs - first));
      Vec y = last.load(row + first);
      activate<1>(&y, layer.phi, layer.tau, layer.m);
      int& count = to.count.data()[s];
      count = append<1>(to.index.data() + s * to.stride, to.value.data() + s * to.stride, count, first, &y, last);
    }
  }
}

// From a workspace to as much memory as its entries need.
inline void remember(const Workspace& from, int samples, int width, TapePart& to) {
  std::size_t n = 0;
  to.end.reset(new uint32_t[static_cast<std::size_t>(samples)]);
  for (int s = 0; s < samples; ++s) {
    n += static_cast<std::size_t>(from.count.data()[s]);
    to.end[s] = static_cast<uint32_t>(n);
  }
  to.value.reset(new float[n]);
  const bool narrow = width <= std::numeric_limits<uint16_t>::max();
  narrow ? to.narrow.reset(new uint16_t[n]) : to.wide.reset(new uint32_t[n]);
  for (int s = 0; s < samples; ++s) {
    const uint32_t* index = from.index.data() + s * from.stride;
    const float* value = from.value.data() + s * from.stride;
    const int count = from.count.data()[s];
    const uint32_t at = to.begin(s);
    std::copy(value, value + count, to.value.get() + at);
    Vec sum{};  // stays zero unless a value is none
    for (int i = 0; i < count; i += W) sum += Lanes(std::min(W, count - i)).load(value + i) * all(0.0f);
    to.finite &= !active_lanes(sum);
    for (int i = 0; narrow && i < count; ++i) to.narrow[at + i] = static_cast<uint16_t>(index[i]);
    if (!narrow) std::copy(index, index + count, to.wide.get() + at);
  }
}

inline void forward_part(const TrainChain& chain, const Parameters& at, const ForwardCall& call, Tape& tape, int p) {
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
  receive(chain.layer(0), call.x + static_cast<std::size_t>(first) * chain.layer(0).inputs, own.lists[0], stream,
          stride, samples);
  for (int l = 0; l < chain.depth(); ++l) {
    const TrainLayer& layer = chain.layer(l);
    const bool last = l + 1 == chain.depth();
    const auto here = static_cast<std::size_t>(l);
    Workspace &in = own.lists[l % 2], &out = own.lists[(l + 1) % 2];
    if (call.keep) remember(in, samples, layer.inputs, tape.at(l, p));
    const LayerRun run{layer, at.weight[here], at.bias[here], in, last ? nullptr : &out,
                       last ? nullptr : &chain.layer(l + 1),
                       call.out + static_cast<std::size_t>(first) * layer.outputs, stream, stride, own.kept.data(),
                       samples};
    run_layer(run, last ? nullptr : at.weight[here + 1],
              last ? 0 : static_cast<std::size_t>(chain.layer(l + 1).inputs) * chain.layer(l + 1).outputs);
  }
}

}  // namespace SF_ISA
}  // namespace sparsefield
