// Runs the training kernels over a grid of cases, in memory that ends where it must, and compares them with a
// reference in double. `train_check planted NAME` does something wrong on purpose, which must be found.
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
  int batch = 1, threads = 1;
  std::vector<std::vector<float>> weight, bias;  // input-major
  std::vector<float> x, gradient;
};

Case case_of(int number) {
  Random random(static_cast<unsigned>(number));
  Case c;
  const std::vector<int> widths{1, 2, 7, 8, 15, 16, 17, 33, 48, 63, 65, 79, 81, 161, 300};
  c.batch = one_of(random, {0, 1, 2, 3, 9, 33, 70});
  c.threads = 1 + below(random, 3);
  const bool skip = below(random, 2), dead = below(random, 2);
  int width = number % 20 == 19 ? 1100 : one_of(random, widths);
  for (int depth = 1 + below(random, 4); depth > 0; --depth) {
    const int next = skip || below(random, 2) ? width : one_of(random, widths);
    const float alpha = skip && next == width ? 0.9f : 0.0f;
    const Phi phi = below(random, 2) ? Phi::one_sided : Phi::two_sided;
    const float m = below(random, 2) ? HUGE_VALF : 1.0f;
    c.chain.layers.push_back({width, next, alpha, std::sqrt(1 - alpha * alpha), phi, 0.4f, m});
    std::vector<float> weight(static_cast<std::size_t>(width) * next), bias(static_cast<std::size_t>(next));
    for (float& w : weight) w = normal(random) / std::sqrt(static_cast<float>(width));
    for (float& b : bias) b = 0.3f * normal(random) - (dead && below(random, 4) ? 5.0f : 0.0f);
    c.weight.push_back(weight);
    c.bias.push_back(bias);
    width = next;
  }
  c.x.resize(static_cast<std::size_t>(c.batch) * c.chain.layer(0).inputs);
  for (float& value : c.x) value = normal(random);
  c.gradient.resize(static_cast<std::size_t>(c.batch) * width);
  for (float& value : c.gradient) value = normal(random);
  return c;
}

// Tensors of gradients: of x, then the weights and the biases of every layer.
struct Result {
  Values out;
  std::vector<Values> gradients;
};

double phi_of(const TrainLayer& by, double h) {
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

Result reference(const Case& c, bool& edge) {
  const int depth = c.chain.depth();
  Result result;
  result.gradients.resize(1 + 2 * static_cast<std::size_t>(depth));
  for (int l = 0; l < depth; ++l) {
    result.gradients[1 + static_cast<std::size_t>(l)].resize(c.weight[static_cast<std::size_t>(l)].size());
    result.gradients[1 + static_cast<std::size_t>(depth + l)].resize(
        c.bias[static_cast<std::size_t>(l)].size());
  }
  for (int s = 0; s < c.batch; ++s) {
    const auto inputs = static_cast<std::size_t>(c.chain.layer(0).inputs);
    std::vector<Values> h{Values(c.x.begin() + s * inputs, c.x.begin() + (s + 1) * inputs)};
    for (int l = 0; l < depth; ++l) {
      const TrainLayer& layer = c.chain.layer(l);
      Values next(static_cast<std::size_t>(layer.outputs));
      for (int j = 0; j < layer.outputs; ++j) {
        double sum = c.bias[static_cast<std::size_t>(l)][static_cast<std::size_t>(j)];
        for (int k = 0; k < layer.inputs; ++k)
          sum += phi_of(layer, h.back()[static_cast<std::size_t>(k)]) *
                 c.weight[static_cast<std::size_t>(l)][static_cast<std::size_t>(k) * layer.outputs + j];
        next[static_cast<std::size_t>(j)] = layer.scale * sum;
        if (layer.alpha != 0)
          next[static_cast<std::size_t>(j)] += layer.alpha * h.back()[static_cast<std::size_t>(j)];
      }
      h.push_back(next);
    }
    result.out.insert(result.out.end(), h.back().begin(), h.back().end());
    const std::size_t outputs = h.back().size();
    Values g(c.gradient.begin() + s * outputs, c.gradient.begin() + (s + 1) * outputs);
    for (int l = depth - 1; l >= 0; --l) {
      const TrainLayer& layer = c.chain.layer(l);
      const auto at = static_cast<std::size_t>(l);
      Values before(static_cast<std::size_t>(layer.inputs));
      for (int j = 0; j < layer.outputs; ++j)
        result.gradients[1 + static_cast<std::size_t>(depth + l)][static_cast<std::size_t>(j)] +=
            layer.scale * g[static_cast<std::size_t>(j)];
      for (int k = 0; k < layer.inputs; ++k) {
        const double hk = h[at][static_cast<std::size_t>(k)], y = phi_of(layer, hk);
        double sum = 0;
        for (int j = 0; j < layer.outputs; ++j) {
          const std::size_t place = static_cast<std::size_t>(k) * layer.outputs + j;
          sum += layer.scale * c.weight[at][place] * g[static_cast<std::size_t>(j)];
          result.gradients[1 + at][place] += layer.scale * y * g[static_cast<std::size_t>(j)];
        }
        before[static_cast<std::size_t>(k)] = inside(layer, hk, edge) ? sum : 0.0;
        if (layer.alpha != 0)
          before[static_cast<std::size_t>(k)] += layer.alpha * g[static_cast<std::size_t>(k)];
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
  training.forward(c.chain, parameters, {x.data(), out.data(), c.batch, c.threads, true}, tape);
  training.backward(c.chain, parameters, {gradient.data(), of_x.data(), 0, c.threads}, tape);
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
int planted(const std::string& name) {
  Case c = case_of(5);
  c.batch = 9, c.threads = 2;
  c.x.assign(static_cast<std::size_t>(9) * c.chain.layer(0).inputs, 1.0f);
  c.gradient.assign(static_cast<std::size_t>(9) * c.chain.layers.back().outputs, 1.0f);
  bool edge = false;
  Result wanted = reference(c, edge);
  if (name == "wrong") c.gradient[3] += 0.1f;
  if (name == "read") c.bias.back().pop_back();
  if (name == "write") wanted.out.pop_back();  // so that there is too little memory for it
  if (name != "race") return !run_case(c, trainer(""), wanted);
  // two forward passes to the same output
  Parameters parameters;
  for (const auto& w : c.weight) parameters.weight.push_back(w.data());
  for (const auto& b : c.bias) parameters.bias.push_back(b.data());
  std::vector<float> out(wanted.out.size());
  const auto run = [&] {
    Tape tape;
    trainer("").forward(c.chain, parameters, {c.x.data(), out.data(), c.batch, 2, true}, tape);
  };
  std::thread other(run);
  run();
  other.join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 && !std::strcmp(argv[1], "planted")) return planted(argv[2]);
  const int cases = argc > 1 ? std::atoi(argv[1]) : 300;
  int wrong = 0;
  for (int number = 0; number < cases; ++number) wrong += !check(number);
  std::printf("%d wrong, of %d cases\n", wrong, cases);
  return wrong != 0;
}
