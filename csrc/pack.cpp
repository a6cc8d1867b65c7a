// Weights from PyTorch's [out, in, kernel...] to panels, in any of the stored formats.
#include "pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace sparsefield {
namespace {

constexpr int NARROW = 16;  // lanes of a layer that is not worth sharing

// Round to nearest, ties to even. The largest NaN would be rounded to zero.
uint16_t to_bfloat16(float x) {
  if (std::isnan(x)) return 0x7fc0;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// The scale of denormal weights is coarse, and their quotient may exceed 127.
int8_t to_int8(float x, float scale) {
  return scale > 0.0f ? static_cast<int8_t>(std::clamp(std::lround(x / scale), -127L, 127L)) : int8_t{0};
}

// One scale for each output: its largest weight becomes 127. NaN, and with it the output, if not all are
// finite: no int8 stands for them.
float scale_of(const float* weights, std::size_t n) {
  float largest = 0.0f;
  for (std::size_t i = 0; i < n; ++i) {
    if (!std::isfinite(weights[i])) return std::numeric_limits<float>::quiet_NaN();
    largest = std::max(largest, std::fabs(weights[i]));
  }
  return largest / 127.0f;
}

template <class T, class Convert>
void fill(Layer& layer, const float* weight, Convert convert) {
  const std::size_t rows = layer.rows(), taps = static_cast<std::size_t>(layer.window.taps());
  const std::size_t kernel_h = static_cast<std::size_t>(layer.window.kernel_h), kernel_w = taps / kernel_h;
  T* to = reinterpret_cast<T*>(layer.weights.data());
  for (int p = 0; p < layer.panels(); ++p, to += rows * layer.panel) {
    const int width = layer.width(p), held = layer.held(p);
    std::fill(to, to + rows * width, T{});
    for (int o = 0; o < held; ++o)
      for (std::size_t i = 0; i < static_cast<std::size_t>(layer.inputs); ++i)
        for (std::size_t t = 0; t < taps; ++t) {
          // column by column, as a strip holds the inputs
          const std::size_t tap = t % kernel_w * kernel_h + t / kernel_w;
          const std::size_t out = static_cast<std::size_t>(p) * layer.panel + o;
          const float w = weight[(out * layer.inputs + i) * taps + t];
          to[(tap * layer.inputs + i) * width + o] = convert(w, out);
        }
  }
}

}  // namespace

std::size_t bytes_of(Format format) {
  return format == Format::float32 ? 4 : format == Format::bfloat16 ? 2 : 1;
}

int panel_for(int outputs, int threads) {
  const int lanes = (outputs + LANES - 1) / LANES;
  const int shares = lanes < NARROW ? 1 : threads;
  int best = 0, least = 0, fewest = 0;
  for (int width : {4, 5, 3}) {
    const int panels = (lanes + width - 1) / width, share = (panels + shares - 1) / shares * width;
    if (!best || share < least || (share == least && panels < fewest))
      best = width, least = share, fewest = panels;
  }
  return best * LANES;
}

void pack(Layer& layer, const float* weight, const float* bias) {
  const std::size_t padded = static_cast<std::size_t>(layer.padded());
  layer.bias.resize(padded);
  layer.scale.resize(padded);
  std::fill(layer.bias.data(), layer.bias.data() + padded, 0.0f);
  std::fill(layer.scale.data(), layer.scale.data() + padded, 1.0f);
  if (bias) std::copy(bias, bias + layer.outputs, layer.bias.data());
  layer.weights.resize(padded * layer.rows() * bytes_of(layer.format));
  if (layer.format == Format::float32)
    return fill<float>(layer, weight, [](float x, std::size_t) { return x; });
  if (layer.format == Format::bfloat16)
    return fill<uint16_t>(layer, weight, [](float x, std::size_t) { return to_bfloat16(x); });
  for (int o = 0; o < layer.outputs; ++o)
    layer.scale.data()[o] = scale_of(weight + o * layer.rows(), layer.rows());
  fill<int8_t>(layer, weight, [&](float x, std::size_t o) { return to_int8(x, layer.scale.data()[o]); });
}

}  // namespace sparsefield
