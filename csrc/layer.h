// One layer over the sites of a block: sums of weight rows, then bias, skip, activation and lists.
#pragma once

#include <algorithm>

#include "product.h"
#include "sites.h"

namespace sparsefield {
namespace SF_ISA {

constexpr int TILE = 512;  // inputs whose weights stay near while the sites pass: 128 kB of a panel
constexpr int REUSED = 2;  // active sites of a row above which nearly all rows are needed: fetched ahead

constexpr int INPUT_PANEL = 64;  // of a chain's input

// Dense rows of a matrix.
struct Rows {
  float* data;
  std::size_t stride;
};

// What a layer reads: lists, or dense rows.
struct Input {
  const Lists* lists;
  Rows rows;
};

// Where its results go: lists or dense rows; and the stream that the skip carries on, or null.
struct Target {
  Lists* lists;
  Rows rows, stream;
  bool raw;         // h itself, not phi(h)
  int region;       // of the lists
  int64_t* active;  // counts what is written
};

template <Format F>
const typename Stored<F>::Type* panel_of(const Layer& layer, int p) {
  return reinterpret_cast<const typename Stored<F>::Type*>(layer.weights.data()) +
         static_cast<std::size_t>(p) * layer.panel * layer.rows();
}

template <Phi P, int V>
void activate(Vec* h, float tau, float m) {
  for (int v = 0; v < V; ++v) h[v] = apply<P>(h[v], all(tau), all(m));
}

template <int V>
void activate(Vec* h, Phi phi, float tau, float m) {
  if (phi == Phi::one_sided) activate<Phi::one_sided, V>(h, tau, m);
  if (phi == Phi::two_sided) activate<Phi::two_sided, V>(h, tau, m);
  if (phi == Phi::cut) activate<Phi::cut, V>(h, tau, m);
}

// The active lanes of vector v, of a panel that holds `held` values.
inline uint32_t active_held(Vec y, int v, int held) {
  const uint32_t lanes = active_lanes(y);
  return held < (v + 1) * W ? lanes & ((1u << std::max(0, held - v * W)) - 1u) : lanes;
}

// The first `held` values of V vectors, to memory that ends there; the number of the active.
template <int V>
int store_held(float* to, const Vec* y, int held) {
  int n = 0;
  for (int v = 0; v < V; ++v) {
    n += __builtin_popcount(active_held(y[v], v, held));
    if (held >= (v + 1) * W)
      store(to + v * W, y[v]);
    else
      for (int i = v * W; i < held; ++i) to[i] = y[v][i - v * W];
  }
  return n;
}

// Append the active among the first `held` values of panel p to the list of a site; their number.
template <int V>
int append(Lists& lists, std::size_t site, int region, int p, const Vec* y, int held) {
  const Lists::Region& r = lists.region[region];
  const int begin = lists.begin(site, r, p);
  uint32_t* index = lists.index + site * lists.stride + begin;
  float* value = lists.value + site * lists.stride + begin;
  int n = 0;
  for (int v = 0; v < V; ++v) {
    const uint32_t lanes = active_held(y[v], v, held);
    pack(lanes, y[v], static_cast<uint32_t>(p * lists.panel + v * W), index + n, value + n);
    n += __builtin_popcount(lanes);
  }
  lists.end(site, r, p) = begin + n;
  return n;
}

// The first `held` values of a panel to lists or rows; the number of the active.
template <int V>
int deliver(const Vec* y, const Target& to, std::size_t site, int p, int panel, int held) {
  if (to.lists) return append<V>(*to.lists, site, to.region, p, y, held);
  return store_held<V>(to.rows.data + site * to.rows.stride + p * panel, y, held);
}

// From the sums of a panel to its activations.
template <int V>
void finish(Vec* h, const Layer& layer, int p, std::size_t site, const Target& to) {
  const float *bias = layer.bias.data() + p * layer.panel, *scale = layer.scale.data() + p * layer.panel;
  for (int v = 0; v < V; ++v) {
    if (layer.format == Format::int8) h[v] *= load(scale + v * W);
    h[v] += load(bias + v * W);
  }
  if (to.stream.data) {
    float* stream = to.stream.data + site * to.stream.stride + p * layer.panel;
    for (int v = 0; v < V; ++v) {
      if (layer.alpha != 0.0f) h[v] += all(layer.alpha) * load(stream + v * W);
      store(stream + v * W, h[v]);
    }
  }
  if (!to.raw) activate<V>(h, layer.phi, layer.tau, layer.m);
  *to.active += deliver<V>(h, to, site, p, layer.panel, layer.held(p));
}

// Panel p of a chain's input that was made elsewhere: h of `layer`, which it has not been applied to yet.
template <int V>
void receive(const Layer& layer, Rows h, int p, std::size_t site, const Target& to) {
  Vec y[V] = {};
  const auto held = static_cast<std::size_t>(layer.held(p));
  std::memcpy(y, h.data + site * h.stride + p * layer.panel, held * sizeof(float));
  if (to.stream.data) {
    float* stream = to.stream.data + site * to.stream.stride + p * layer.panel;
    for (int v = 0; v < V; ++v) store(stream + v * W, y[v]);
  }
  activate<V>(y, layer.phi, layer.tau, layer.m);
  *to.active += deliver<V>(y, to, site, p, layer.panel, layer.held(p));
}

// Brings the s-th of `sites` slices of [begin, end) into the second-level cache.
inline void fetch(const void* begin, const void* end, int s, int sites) {
  const char *from = static_cast<const char*>(begin), *to = static_cast<const char*>(end);
  const std::ptrdiff_t slice = ((to - from) / sites + 63) / 64 * 64;
  from += s * slice;
  for (const char* line = from; line < from + slice && line < to; line += 64) __builtin_prefetch(line, 0, 2);
}

// Fully connected, from lists, all inputs at once: panel p at every site.
template <Format F, int V>
void from_lists(const Layer& layer, const Lists& in, bool reused, int p, int sites, const Target& to) {
  const auto* panel = panel_of<F>(layer, p);
  const auto* next = panel + static_cast<std::size_t>(layer.inputs) * V * W;
  for (int s = 0; s < sites; ++s) {
    if (reused) fetch(next, next + static_cast<std::size_t>(layer.inputs) * V * W, s, sites);
    Vec h[V] = {};
    for (int i = 0; i < in.regions; ++i) {
      const Lists::Region& r = in.region[i];
      if (r.first_panel == r.last_panel) continue;
      const auto [first, count] = in.range(s, r, r.first_panel, r.last_panel);
      add_active<F, V>(h, panel, in.index + first, in.value + first, count);
    }
    finish<V>(h, layer, p, s, to);
  }
}

// The same with inputs in tiles, so that a tile's weights come from far away once while all sites pass;
// the sums wait in `kept` [sites, WIDEST] meanwhile.
template <Format F, int V>
void from_tiled_lists(const Layer& layer, const Lists& in, float* kept, int p, int sites, const Target& to) {
  const auto* panel = panel_of<F>(layer, p);
  const int tile = std::max(1, TILE / in.panel);
  for (int i = 0; i < in.regions; ++i) {
    const Lists::Region& r = in.region[i];
    for (int from = r.first_panel; from < r.last_panel; from += tile) {
      const int until = std::min(r.last_panel, from + tile);
      // the weights that come next: the following tile, or the first of the panel after this one
      const auto* next = panel + static_cast<std::size_t>(until) * in.panel * V * W;
      const auto* next_end = next + static_cast<std::size_t>(tile) * in.panel * V * W;
      for (int s = 0; s < sites; ++s) {
        fetch(next, next_end, s, sites);
        Vec h[V] = {};
        for (int v = 0; from > 0 && v < V; ++v) h[v] = load(kept + s * WIDEST + v * W);
        const auto [first, count] = in.range(s, r, from, until);
        add_active<F, V>(h, panel, in.index + first, in.value + first, count);
        for (int v = 0; v < V; ++v) store(kept + s * WIDEST + v * W, h[v]);
        if (until == in.panels) finish<V>(h, layer, p, s, to);
      }
    }
  }
}

// Fully connected, from dense rows.
template <Format F, int V>
void from_rows(const Layer& layer, Rows x, float* kept, int p, int sites, const Target& to) {
  std::fill(kept, kept + static_cast<std::size_t>(sites) * WIDEST, 0.0f);
  const auto* panel = panel_of<F>(layer, p);
  for (int from = 0; from < layer.inputs; from += TILE)
    add_all<F, V>(kept, panel, x.data, x.stride, from, std::min(layer.inputs, from + TILE), sites);
  for (int s = 0; s < sites; ++s) {
    Vec h[V];
    for (int v = 0; v < V; ++v) h[v] = load(kept + s * WIDEST + v * W);
    finish<V>(h, layer, p, s, to);
  }
}

template <Format F, int V>
void linear_panel(const Layer& layer, const Input& in, bool reused, float* kept, int p, int sites,
                  const Target& to) {
  if (in.lists && reused && layer.inputs > TILE * 3 / 2)
    return from_tiled_lists<F, V>(layer, *in.lists, kept, p, sites, to);
  if (in.lists) return from_lists<F, V>(layer, *in.lists, reused, p, sites, to);
  from_rows<F, V>(layer, in.rows, kept, p, sites, to);
}

// The input rows that one row of outputs reads, column by column, padding included: the active inputs of
// any window are then one contiguous range. Their number within the strip is
// (column * kernel_h + tap) * inputs + input, so a window's weights are its rows less those before it.
struct Strip {
  uint32_t* index;
  float* value;
  int* begin;  // [columns + 1]

  // Appends a site's list; may write up to W entries more.
  int append(int at, const Lists& in, std::size_t site, uint32_t first_row) const {
    const auto [first, count] = in.range(site, in.region[0], 0, in.panels);
    for (int k = 0; k < count; k += W) {
      const Bits rows = *reinterpret_cast<const BitsLoose*>(in.index + first + k) + first_row;
      *reinterpret_cast<BitsLoose*>(index + at + k) = rows;
      store(value + at + k, load(in.value + first + k));
    }
    return at + count;
  }

  // The strip of output row y of the image whose pixels begin at `site`.
  void fill(const Layer& layer, const Lists& in, std::size_t site, Image from, int y) const {
    const Window& w = layer.window;
    int at = 0;
    for (int column = 0; column < from.width + 2 * w.pad_w; ++column) {
      begin[column] = at;
      const int u = source(column - w.pad_w, from.width, w.circular);
      for (int i = 0; i < w.kernel_h && u >= 0; ++i) {
        const int v = source(y * w.stride_h + i - w.pad_h, from.height, w.circular);
        if (v >= 0)
          at = append(at, in, site + static_cast<std::size_t>(v) * from.width + u,
                      static_cast<uint32_t>((column * w.kernel_h + i) * layer.inputs));
      }
    }
    begin[from.width + 2 * w.pad_w] = at;
  }
};

// Convolution, from lists: panel p at the pixels of rows [top, bottom) of the s-th image.
template <Format F, int V>
void conv_panel(const Layer& layer, const Lists& in, Image from, Image out, const Strip& strip, int p,
                std::size_t s, int top, int bottom, const Target& to) {
  const Window& w = layer.window;
  for (int y = top; y < bottom; ++y) {
    strip.fill(layer, in, s * from.pixels(), from, y);
    for (int x = 0; x < out.width; ++x) {
      const int column = x * w.stride_w, first = strip.begin[column];
      Vec h[V] = {};
      add_active<F, V>(h, panel_of<F>(layer, p), strip.index + first, strip.value + first,
                       strip.begin[column + w.kernel_w] - first,
                       static_cast<uint32_t>(column * w.kernel_h * layer.inputs));
      finish<V>(h, layer, p, s * out.pixels() + static_cast<std::size_t>(y) * out.width + x, to);
    }
  }
}

// Panel p of a chain's own input.
inline void receive_first(const Chain& chain, Rows x, Values values, int p, std::size_t site,
                          const Target& to) {
  constexpr int V = INPUT_PANEL / W;
  Vec y[V] = {};
  const auto held = static_cast<std::size_t>(values.held(p));
  std::memcpy(y, x.data + site * x.stride + p * INPUT_PANEL, held * sizeof(float));
  activate<V>(y, chain.phi, chain.tau, chain.m);
  *to.active += deliver<V>(y, to, site, p, INPUT_PANEL, values.held(p));
}

inline int64_t count_active(Rows x, int values, int first, int last) {
  int64_t active = 0;
  for (int s = first; s < last; ++s)
    for (int i = 0; i < values; ++i) active += x.data[s * x.stride + i] != 0.0f;
  return active;
}

}  // namespace SF_ISA
}  // namespace sparsefield
