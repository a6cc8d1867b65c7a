// Runs the training kernels over a grid of cases, in memory that ends where it must, and compares them with a
// reference in double. `train_check planted NAME CASE` does something wrong on purpose, which must be found.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <thread>

#include "../instruction_set.h"
#include "cases.h"

using namespace sparsefield;

namespace {

using Values = std::vector<double>;

// Floats whose last ends its block of memory.
struct Exact {
  std::unique_ptr<float, Free> memory;
  std::size_t size;
  explicit Exact(std::size_t n)
      : memory(static_cast<float*>(std::malloc(std::max<std::size_t>(n, 1) * 4))), size(n) {}
  float* data() const { return memory.get(); }
};

struct Case {
  TrainChain chain;
  Image image{1, 1};
  int batch = 1, threads = 1;
  std::vector<std::vector<float>> weight, bias;  // input-major
  std::vector<float> x, gradient;
};

// One that images of this size can pass; the same size again where a skip needs it.
Window window_of(Random& random, Image image, bool keeps) {
  const int kernel = std::min({one_of(random, {1, 3, 3, 5}), image.height, image.width});
  const bool circular = below(random, 2);
  if (keeps && kernel % 2) return {kernel, kernel, 1, 1, kernel / 2, kernel / 2, circular};
  return {1 + below(random, kernel), kernel,          1 + below(random, 2),
          1 + below(random, 3),      below(random, 3), below(random, std::min(3, image.width + 1)),
          circular && image.height > 2};
}

Case case_of(int number) {
  Random random(static_cast<unsigned>(number));
  Case c;
  const bool convolutional = c.chain.convolutional = number % 2;
  std::vector<int> widths{1, 2, 7, 8, 15, 16, 17, 33, 48, 63, 65, 79, 81};
  if (!convolutional) widths.insert(widths.end(), {161, 300});
  c.batch = one_of(random, {0, 1, 2, 3, 9, convolutional ? 5 : 33, convolutional ? 4 : 70});
  c.threads = 1 + below(random, 3);
  if (convolutional) c.image = {1 + below(random, 6), 1 + below(random, 6)};
  const bool skip = below(random, 2), dead = below(random, 2);
  int width = !convolutional && number % 20 == 18 ? 1100 : one_of(random, widths);
  Image image = c.image;
  for (int depth = 1 + below(random, 4); depth > 0; --depth) {
    const int next = skip || below(random, 2) ? width : one_of(random, widths);
    const float carried = number % 3 ? 0.9f : 0.4f;  // the smaller soon passes what rows are scaled by
    const float alpha = skip && next == width ? carried : 0.0f;
    const Phi shifted = below(random, 2) ? Phi::one_sided : Phi::two_sided;
    const Phi phi = number % 5 == 3 ? Phi::cut : shifted;
    const float m = below(random, 2) || phi == Phi::cut ? HUGE_VALF : 1.0f;
    const Window window = convolutional ? window_of(random, image, skip && below(random, 3)) : Window{};
    image = after(window, image);
    c.chain.layers.push_back({width, next, alpha, std::sqrt(1 - alpha * alpha), phi, 0.4f, m, window});
    const int inputs = width * window.taps();
    std::vector<float> weight(static_cast<std::size_t>(inputs) * next), bias(static_cast<std::size_t>(next));
    for (float& w : weight) w = normal(random) / std::sqrt(static_cast<float>(inputs));
    for (float& b : bias) b = 0.3f * normal(random) - (dead && below(random, 4) ? 5.0f : 0.0f);
    c.weight.push_back(weight);
    c.bias.push_back(bias);
    width = next;
  }
  c.x.resize(static_cast<std::size_t>(c.batch) * c.image.pixels() * c.chain.layer(0).inputs);
  for (float& value : c.x) value = normal(random);
  c.gradient.resize(static_cast<std::size_t>(c.batch) * image.pixels() * width);
  for (float& value : c.gradient) value = normal(random);
  return c;
}

// Tensors of gradients: of x, then the weights and the biases of every layer.
struct Result {
  Values out;
  std::vector<Values> gradients;
};

double phi_of(const TrainLayer& by, double h) {
  if (by.phi == Phi::cut) return h > double{by.tau} ? h : 0;
  const double size = by.phi == Phi::two_sided ? std::fabs(h) : h;
  return std::copysign(std::min(std::max(size - double{by.tau}, 0.0), double{by.m}),
                       by.phi == Phi::two_sided ? h : 1);
}

// Whether the derivative is one; `edge` is set where float may see it otherwise.
bool inside(const TrainLayer& by, double h, bool& edge) {
  const double over = (by.phi == Phi::two_sided ? std::fabs(h) : h) - double{by.tau};
  edge |= std::fabs(over) < 1e-5 || std::fabs(over - double{by.m}) < 1e-5;
  return over > 0 && over < double{by.m};
}

// Calls f with every output pixel, the input pixel that a tap of it reads, and the tap.
template <class Then>
void for_taps(const Window& w, Image in, Then f) {
  const Image out = after(w, in);
  for (int o = 0; o < out.pixels(); ++o)
    for (int tap = 0; tap < w.taps(); ++tap) {
      int y = o / out.width * w.stride_h + tap / w.kernel_w - w.pad_h;
      int x = o % out.width * w.stride_w + tap % w.kernel_w - w.pad_w;
      if (w.circular) y = (y + in.height) % in.height, x = (x + in.width) % in.width;
      if (y >= 0 && y < in.height && x >= 0 && x < in.width) f(o, y * in.width + x, tap);
    }
}

// The layer as it is between images of two sizes.
TrainLayer carried(TrainLayer layer, Image in) {
  if (!(after(layer.window, in) == in)) layer.alpha = 0.0f, layer.scale = 1.0f;
  return layer;
}

// Calls f with every product of a layer: which input, output and weight.
template <class Then>
void for_products(const TrainLayer& layer, Image in, Then f) {
  for_taps(layer.window, in, [&](int to, int from, int tap) {
    for (int k = 0; k < layer.inputs; ++k)
      for (int j = 0; j < layer.outputs; ++j)
        f(static_cast<std::size_t>(from * layer.inputs + k), static_cast<std::size_t>(to * layer.outputs + j),
          static_cast<std::size_t>(tap * layer.inputs + k) * layer.outputs + j);
  });
}

// h of the layer after.
Values forward(const TrainLayer& layer, Image in, const std::vector<float>& weight,
               const std::vector<float>& bias, const Values& h) {
  const auto pixels = static_cast<std::size_t>(after(layer.window, in).pixels());
  Values sum, next;
  for (std::size_t o = 0; o < pixels; ++o) sum.insert(sum.end(), bias.begin(), bias.end());
  for_products(layer, in, [&](std::size_t k, std::size_t j, std::size_t w) {
    sum[j] += phi_of(layer, h[k]) * weight[w];
  });
  for (std::size_t j = 0; j < sum.size(); ++j)
    next.push_back(layer.scale * sum[j] + (layer.alpha != 0 ? layer.alpha * h[j] : 0.0));
  return next;
}

Result reference(const Case& c, bool& edge) {
  const auto depth = static_cast<std::size_t>(c.chain.depth());
  Result result;
  result.gradients.resize(1 + 2 * depth);
  for (std::size_t l = 0; l < depth; ++l) {
    result.gradients[1 + l].resize(c.weight[l].size());
    result.gradients[1 + depth + l].resize(c.bias[l].size());
  }
  const std::size_t inputs = c.batch ? c.x.size() / static_cast<std::size_t>(c.batch) : 0;
  for (int s = 0; s < c.batch; ++s) {
    std::vector<Image> images{c.image};
    std::vector<TrainLayer> layers;
    std::vector<Values> h{Values(c.x.begin() + s * inputs, c.x.begin() + (s + 1) * inputs)};
    for (std::size_t l = 0; l < depth; ++l) {
      layers.push_back(carried(c.chain.layers[l], images[l]));
      h.push_back(forward(layers[l], images[l], c.weight[l], c.bias[l], h[l]));
      images.push_back(after(layers[l].window, images[l]));
    }
    result.out.insert(result.out.end(), h.back().begin(), h.back().end());
    const std::size_t outputs = h.back().size();
    Values g(c.gradient.begin() + s * outputs, c.gradient.begin() + (s + 1) * outputs);
    for (std::size_t l = depth; l-- > 0;) {
      const TrainLayer& layer = layers[l];
      for (std::size_t j = 0; j < g.size(); ++j)
        result.gradients[1 + depth + l][j % static_cast<std::size_t>(layer.outputs)] += layer.scale * g[j];
      Values before(h[l].size());
      for_products(layer, images[l], [&](std::size_t k, std::size_t j, std::size_t w) {
        before[k] += layer.scale * c.weight[l][w] * g[j];
        result.gradients[1 + l][w] += layer.scale * phi_of(layer, h[l][k]) * g[j];
      });
      for (std::size_t k = 0; k < before.size(); ++k) {
        if (!inside(layer, h[l][k], edge)) before[k] = 0.0;
        if (layer.alpha != 0) before[k] += layer.alpha * g[k];
      }
      g = before;
    }
    result.gradients[0].insert(result.gradients[0].end(), g.begin(), g.end());
  }
  return result;
}

bool near(const char* what, const float* found, const Values& wanted) {
  double off = 0, size = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    off += (found[i] - wanted[i]) * (found[i] - wanted[i]);
    size += wanted[i] * wanted[i];
  }
  const bool good = std::sqrt(off) <= 1e-5 * std::sqrt(size) + 1e-6;
  if (!good) std::printf("%s: off by %g of %g\n", what, std::sqrt(off), std::sqrt(size));
  return good;
}

Exact copied(const std::vector<float>& values) {
  Exact to(values.size());
  std::copy(values.begin(), values.end(), to.data());
  return to;
}

// The three passes, and an update by Adam and one by plain SGD for the memory that they touch.
bool run_case(const Case& c, const Training& training, const Result& wanted) {
  const int depth = c.chain.depth();
  std::vector<Exact> weights, biases, made;
  Parameters parameters;
  for (const auto& w : c.weight) weights.push_back(copied(w));
  for (const auto& b : c.bias) biases.push_back(copied(b));
  for (const Exact& w : weights) parameters.weight.push_back(w.data());
  for (const Exact& b : biases) parameters.bias.push_back(b.data());
  const Exact x = copied(c.x), gradient = copied(c.gradient), out(wanted.out.size()), of_x(c.x.size());
  Tape tape;
  training.forward(c.chain, parameters, {x.data(), out.data(), c.batch, c.threads, true, c.image}, tape);
  training.backward(c.chain, parameters, {gradient.data(), of_x.data(), 0, c.threads, {}}, tape);
  WeightCall call{gradient.data(), c.threads, {}, {}}, adam = call, sgd = call;
  std::vector<std::vector<uint8_t>> live;
  std::vector<Exact> moments;
  for (int l = 0; l < 2 * depth; ++l) {
    const bool is_bias = l >= depth;
    Exact& held =
        is_bias ? biases[static_cast<std::size_t>(l - depth)] : weights[static_cast<std::size_t>(l)];
    made.emplace_back(held.size);
    Update update{};
    update.rule = Rule::gradient;
    update.to = made.back().data();
    (is_bias ? call.bias : call.weight).push_back(update);
    update.rule = Rule::sgd;
    update.to = held.data();
    update.lr = 1e-3f;
    (is_bias ? sgd.bias : sgd.weight).push_back(update);
    for (int i = 0; i < 2; ++i) {
      moments.emplace_back(held.size);
      std::fill(moments.back().data(), moments.back().data() + held.size, 0.0f);
      (i ? update.second : update.first) = moments.back().data();
    }
    update.rule = Rule::adam;
    update.beta1 = 0.9f, update.beta2 = 0.99f, update.eps = 1e-8f;
    if (!is_bias) {
      live.emplace_back(static_cast<std::size_t>(c.chain.layer(l).inputs));
      update.live = live.back().data();
    }
    (is_bias ? adam.bias : adam.weight).push_back(update);
  }
  training.weights(c.chain, call, tape);
  bool good = near("out", out.data(), wanted.out) && near("x", of_x.data(), wanted.gradients[0]);
  for (int i = 0; i < 2 * depth; ++i) {
    const auto at = static_cast<std::size_t>(i);
    good &= near(i < depth ? "weight" : "bias", made[at].data(), wanted.gradients[1 + at]);
  }
  training.weights(c.chain, adam, tape);
  training.weights(c.chain, sgd, tape);
  return good;
}

bool check(int number) {
  const Case c = case_of(number);
  bool edge = false;
  const Result wanted = reference(c, edge);
  for (const std::string& set : present_sets())
    if (!run_case(c, trainer(set), wanted) && !edge) {
      std::printf("case %d by %s\n", number, set.c_str());
      return false;
    }
  return true;
}

// 1 if the check itself sees it; a sanitizer ends the program.
int planted(const std::string& name, int number) {
  Case c = case_of(number);
  const std::size_t in = c.x.size() / static_cast<std::size_t>(c.batch),
                    out = c.gradient.size() / static_cast<std::size_t>(c.batch);
  c.batch = 9, c.threads = 2;
  c.x.assign(9 * in, 1.0f);
  c.gradient.assign(9 * out, 1.0f);
  bool edge = false;
  Result wanted = reference(c, edge);
  if (name == "wrong") c.gradient[3] += 10.0f;
  if (name == "read") c.bias.back().pop_back();
  if (name == "write") wanted.out.pop_back();  // so that there is too little memory for it
  if (name != "race") return !run_case(c, trainer(""), wanted);
  // two forward passes to the same output
  Parameters parameters;
  for (const auto& w : c.weight) parameters.weight.push_back(w.data());
  for (const auto& b : c.bias) parameters.bias.push_back(b.data());
  std::vector<float> made(wanted.out.size());
  const auto run = [&] {
    Tape tape;
    trainer("").forward(c.chain, parameters, {c.x.data(), made.data(), c.batch, 2, true, c.image}, tape);
  };
  std::thread other(run);
  run();
  other.join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 3 && !std::strcmp(argv[1], "planted")) return planted(argv[2], std::atoi(argv[3]));
  const int cases = argc > 1 ? std::atoi(argv[1]) : 300;
  int wrong = 0;
  for (int number = 0; number < cases; ++number) wrong += !check(number);
  std::printf("%d wrong, of %d cases\n", wrong, cases);
  return wrong != 0;
}
