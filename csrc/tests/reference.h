// Layers as plainly as can be, in double: what the kernels are compared with.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../chain.h"

namespace sparsefield::reference {

struct Activation {
  Phi phi = Phi::identity;
  float tau = 0, m = 0;
};

struct Plain {
  int inputs, outputs;
  Window window;
  Format format;
  Activation after;
  float alpha;
  std::vector<float> weight, bias;  // [outputs, inputs, kernel_h, kernel_w]; bias may be empty
};

// Of what a value was summed from, and of the errors of what it was summed from.
constexpr double RELATIVE = 1e-5, SMALLEST = 3e-45;

// One sample: [height, width, channels]. A value in float may be off by its tolerance.
struct Image {
  int height, width, channels;
  std::vector<double> value, tolerance;

  Image(int h, int w, int c)
      : height(h),
        width(w),
        channels(c),
        value(static_cast<std::size_t>(h) * w * c),
        tolerance(value.size()) {}
  std::size_t at(int y, int x, int c) const {
    return (static_cast<std::size_t>(y) * width + x) * channels + c;
  }
};

inline double bfloat16(double w) {
  int exponent = 0;
  const double fraction = std::frexp(w, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
}

// The weights as stored.
inline std::vector<double> stored(const Plain& layer) {
  std::vector<double> weights(layer.weight.begin(), layer.weight.end());
  const std::size_t row = weights.size() / static_cast<std::size_t>(layer.outputs);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (layer.format == Format::bfloat16) weights[i] = bfloat16(weights[i]);
    if (layer.format != Format::int8) continue;
    float largest = 0.0f;
    for (std::size_t j = i / row * row; j < (i / row + 1) * row; ++j)
      largest = std::max(largest, std::fabs(layer.weight[j]));
    const float scale = largest / 127.0f;
    weights[i] = scale > 0.0f ? std::round(layer.weight[i] / scale) * double{scale} : 0.0;
  }
  return weights;
}

inline double phi(const Activation& by, double h) {
  if (std::isnan(h) || by.phi == Phi::identity) return h;
  const double tau = by.tau, m = by.m;
  if (by.phi == Phi::cut) return h <= tau ? 0.0 : h;
  if (by.phi == Phi::one_sided) return std::min(std::max(h - tau, 0.0), m);
  return std::copysign(std::min(std::max(std::fabs(h) - tau, 0.0), m), h);
}

inline Image activated(const Activation& by, const Image& h) {
  Image y = h;
  for (std::size_t k = 0; k < h.value.size(); ++k) {
    const double value = h.value[k], off = h.tolerance[k];
    y.value[k] = phi(by, value);
    const double change = std::fabs(phi(by, value + off) - phi(by, value - off));
    const double allowed = by.phi == Phi::cut ? std::max(off, change) : off;  // which may jump
    y.tolerance[k] = std::isfinite(value) && change != 0.0 ? allowed : 0.0;
  }
  return y;
}

inline int length(int n, int kernel, int stride, int pad) { return (n + 2 * pad - kernel) / stride + 1; }

// Where the input of tap (i, j) of output (v, u) is; false if in the padding.
inline bool source(const Window& w, const Image& y, int& v, int& u, int i, int j) {
  v = v * w.stride_h + i - w.pad_h, u = u * w.stride_w + j - w.pad_w;
  if (w.circular) v = (v + y.height) % y.height, u = (u + y.width) % y.width;
  return v >= 0 && v < y.height && u >= 0 && u < y.width;
}

// out += W y for one tap of one output; `spread` is the sum of squares of the errors that come with y.
inline void add_tap(const Plain& layer, const std::vector<double>& weights, const Image& y, std::size_t from,
                    int tap, Image& out, std::vector<double>& spread, std::size_t to) {
  for (int c = 0; c < y.channels; ++c) {
    const double value = y.value[from + c], off = y.tolerance[from + c];
    if (value == 0.0 && off == 0.0) continue;
    for (int o = 0; o < out.channels; ++o) {
      const double w = weights[(static_cast<std::size_t>(o) * y.channels + c) * layer.window.taps() + tap];
      out.value[to + o] += w * value;
      out.tolerance[to + o] += RELATIVE * std::fabs(w * value) + SMALLEST;
      spread[to + o] += w * off * w * off;
    }
  }
}

// W y + b.
inline Image times(const Plain& layer, const std::vector<double>& weights, const Image& y) {
  const Window& w = layer.window;
  Image out(length(y.height, w.kernel_h, w.stride_h, w.pad_h),
            length(y.width, w.kernel_w, w.stride_w, w.pad_w), layer.outputs);
  std::vector<double> spread(out.value.size());
  for (int v = 0; v < out.height; ++v)
    for (int u = 0; u < out.width; ++u)
      for (int tap = 0; tap < w.taps(); ++tap)
        if (int from_v = v, from_u = u; source(w, y, from_v, from_u, tap / w.kernel_w, tap % w.kernel_w))
          add_tap(layer, weights, y, y.at(from_v, from_u, 0), tap, out, spread, out.at(v, u, 0));
  for (std::size_t k = 0; k < out.value.size(); ++k) {
    const double bias = layer.bias.empty() ? 0.0 : layer.bias[k % static_cast<std::size_t>(out.channels)];
    out.value[k] += bias;
    out.tolerance[k] += RELATIVE * std::fabs(bias) + std::sqrt(spread[k]);
  }
  return out;
}

// h of a layer, from h of the one before and its phi.
inline Image h_of(const Plain& layer, const std::vector<double>& weights, const Image& before,
                  const Image& y) {
  Image h = times(layer, weights, y);
  for (std::size_t k = 0; k < h.value.size() && layer.alpha != 0.0f; ++k) {
    const double carried = double{layer.alpha} * before.value[k];
    h.value[k] += carried;
    h.tolerance[k] += RELATIVE * std::fabs(carried) + layer.alpha * before.tolerance[k];
  }
  return h;
}

}  // namespace sparsefield::reference
