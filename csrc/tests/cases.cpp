#include "cases.h"

#include <limits>
#include <sstream>
#include <tuple>

namespace sparsefield {
namespace {

using reference::Plain;

constexpr float INFINITE = std::numeric_limits<float>::infinity();
constexpr int WORK = 1 << 20;  // products of a case, at most: the reference is slow

// About the ends of vectors, panels and tiles.
const std::vector<int> WIDTHS{1,  2,  3,  7,  8,  9,   15,  16,  17,  31,  33,  47,  48,  49,  63,  64,
                              65, 79, 80, 81, 95, 127, 129, 144, 160, 161, 241, 255, 257, 300, 384, 401};
const std::vector<int> CHANNELS{1, 2, 3, 5, 8, 15, 16, 17, 31, 48, 49, 64, 65, 81, 97};
const std::vector<int> BATCHES{0, 1, 1, 2, 3, 4, 5, 7, 25, 26, 63, 64, 65, 127, 128, 129, 200};

void fill(Plain& layer, Random& random) {
  const std::size_t row = static_cast<std::size_t>(layer.inputs) * layer.window.taps();
  layer.weight.resize(static_cast<std::size_t>(layer.outputs) * row);
  for (float& w : layer.weight) w = normal(random) / std::sqrt(static_cast<float>(row));
  if (below(random, 4) == 0) return;
  layer.bias.resize(static_cast<std::size_t>(layer.outputs));
  for (float& b : layer.bias) b = 0.3f * normal(random);
}

reference::Activation activation(Random& random) {
  const float m = below(random, 2) ? INFINITE : 0.2f + static_cast<float>(below(random, 10)) * 0.1f;
  return {static_cast<Phi>(below(random, 4)), static_cast<float>(below(random, 4)) * 0.25f, m};
}

// A layer that keeps as many outputs as the one before may have a skip.
Plain layer_of(int inputs, int outputs, const Window& window, bool may_skip, Random& random) {
  const bool skip = may_skip && inputs == outputs && below(random, 2);
  const auto format = static_cast<Format>(below(random, 3));
  Plain layer{inputs, outputs, window, format, activation(random), skip ? 0.9f : 0.0f, {}, {}};
  fill(layer, random);
  return layer;
}

// What cases of either kind have in common.
void choose_how(Case& c, Random& random) {
  const int depth = static_cast<int>(c.layers.size());
  if (below(random, 2)) c.before = activation(random);
  c.first = below(random, 3) ? 0 : below(random, depth);
  c.last = c.first + 1 + below(random, depth - c.first);
  c.threads = 1 + below(random, 3);
  c.raw = below(random, 3) == 0;
  c.together = below(random, 2);
  c.density = std::vector<double>{0.0, 0.03, 0.1, 0.3, 0.5, 1.0}[static_cast<std::size_t>(below(random, 6))];
  c.special = below(random, 2) ? Special::none : static_cast<Special>(below(random, 4));
  c.misaligned = below(random, 4);
  for (int l = 0; l < depth; ++l) c.dense.push_back(static_cast<uint8_t>(below(random, 2)));
}

int affordable(int batch, int work) { return std::min(batch, std::max(1, WORK / std::max(1, work))); }

Window window_for(int height, int width, Random& random) {
  Window w;
  if (height * width == 1 && below(random, 2)) return w;  // as a fully connected layer
  w.circular = below(random, 2);
  const bool same = below(random, 2);  // 1, 3 or 5 with padding that keeps the size
  const auto side = [&](int n, int& kernel, int& stride, int& pad) {
    kernel = same ? 1 + 2 * below(random, n > 1 ? 3 : 2) : 1 + below(random, 5);
    stride = same ? 1 : 1 + below(random, 3);
    pad = same ? kernel / 2 : below(random, kernel + 1);
    pad = w.circular ? std::min(pad, n) : pad;
    kernel = std::min(kernel, n + 2 * pad);
  };
  side(height, w.kernel_h, w.stride_h, w.pad_h);
  side(width, w.kernel_w, w.stride_w, w.pad_w);
  return w;
}

bool keeps_size(const Window& w) {
  return w.stride_h == 1 && w.stride_w == 1 && 2 * w.pad_h == w.kernel_h - 1 && 2 * w.pad_w == w.kernel_w - 1;
}

float special_value(Special special, Random& random) {
  if (special == Special::nan) return std::numeric_limits<float>::quiet_NaN();
  if (special == Special::infinity) return below(random, 2) ? INFINITE : -INFINITE;
  return 1e-40f * normal(random);
}

}  // namespace

Case linear_case(int number) {
  Random random(static_cast<unsigned>(number));
  Case c{};
  c.number = number;
  c.height = c.width = 1;
  int width = one_of(random, WIDTHS), work = 0;
  for (int depth = 1 + below(random, 4); depth > 0; --depth) {
    const int next = below(random, 2) ? width : one_of(random, WIDTHS);
    work += width * next;
    c.layers.push_back(layer_of(width, next, Window{}, !c.layers.empty(), random));
    width = next;
  }
  c.batch = affordable(one_of(random, BATCHES), work);
  choose_how(c, random);
  return c;
}

Case convolution_case(int number) {
  Random random(static_cast<unsigned>(number) + 1'000'000u);
  Case c{};
  c.number = number;
  c.convolutional = true;
  c.height = 1 + below(random, 9), c.width = 1 + below(random, 9);
  const bool pixel = below(random, 6) == 0;  // alike to a fully connected chain
  if (pixel) c.height = c.width = 1;
  const std::vector<int>& choices = pixel ? WIDTHS : CHANNELS;
  int channels = one_of(random, choices), height = c.height, width = c.width, work = 0;
  std::vector<std::pair<int, int>> sizes{{height, width}};
  for (int depth = 1 + below(random, 3); depth > 0 && work < WORK; --depth) {
    const Window w = window_for(height, width, random);
    const int next = below(random, 2) ? channels : one_of(random, choices);
    c.layers.push_back(layer_of(channels, next, w, !c.layers.empty() && keeps_size(w), random));
    height = reference::length(height, w.kernel_h, w.stride_h, w.pad_h);
    width = reference::length(width, w.kernel_w, w.stride_w, w.pad_w);
    sizes.emplace_back(height, width);
    work += height * width * w.taps() * channels * next;
    channels = next;
  }
  c.batch = affordable(one_of(random, {0, 1, 2, 3, 4, 15, 40}), work);
  choose_how(c, random);
  std::tie(c.height, c.width) = sizes[static_cast<std::size_t>(c.first)];
  return c;
}

Case width_case(int width) {
  Random random(static_cast<unsigned>(width) + 2'000'000u);
  Case c{};
  c.number = width;
  c.height = c.width = 1;
  c.layers.push_back(layer_of(width, 301 - width, Window{}, false, random));
  c.layers.push_back(layer_of(301 - width, width, Window{}, false, random));
  c.batch = 1 + below(random, 6);
  choose_how(c, random);
  return c;
}

std::vector<float> input_of(const Case& c) {
  Random random(static_cast<unsigned>(c.number));
  std::vector<float> x(static_cast<std::size_t>(c.batch) * c.height * c.width * c.channels());
  for (float& value : x) {
    const bool active = std::uniform_real_distribution<>()(random) < c.density;
    const bool special = c.special == Special::denormal || below(random, 50) == 0;
    value = !active                                 ? 0.0f
            : special && c.special != Special::none ? special_value(c.special, random)
                                                    : normal(random);
  }
  return x;
}

std::string describe(const Case& c) {
  std::ostringstream text;
  text << (c.convolutional ? "convolution " : "linear ") << c.number << ": " << c.batch << " x " << c.height
       << " x " << c.width << ", phi " << static_cast<int>(c.before.phi) << ", layers [" << c.first << ", "
       << c.last << ") of";
  for (const Plain& l : c.layers)
    text << "  " << l.inputs << ">" << l.outputs << " k" << l.window.kernel_h << "x" << l.window.kernel_w
         << " s" << l.window.stride_h << "x" << l.window.stride_w << " p" << l.window.pad_h << "x"
         << l.window.pad_w << (l.window.circular ? " circular" : "") << " format "
         << static_cast<int>(l.format) << " phi " << static_cast<int>(l.after.phi) << " alpha " << l.alpha;
  text << "; threads " << c.threads << (c.together ? " together" : " apart") << (c.raw ? " raw" : "")
       << " density " << c.density << " special " << static_cast<int>(c.special) << " misaligned "
       << c.misaligned << " dense ";
  for (uint8_t d : c.dense) text << int{d};
  return text.str();
}

}  // namespace sparsefield
