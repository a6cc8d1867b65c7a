// Runs the kernels over a grid of cases, in memory that ends where it must, and compares them with the
// reference. Built with a sanitizer by `make sanitize`; `check planted NAME` does something wrong on
// purpose, which must be found.
#include <cstdio>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <thread>

#include "../fork.h"
#include "../instruction_set.h"
#include "../pack.h"
#include "../team.h"
#include "cases.h"

using namespace sparsefield;

namespace {

// Floats whose last ends its block of memory, and whose first lies `offset` floats after its beginning.
struct Exact {
  std::unique_ptr<float, Free> memory;
  float* data;
  Exact(std::size_t size, int offset)
      : memory(static_cast<float*>(std::malloc((size + offset) * sizeof(float)))),
        data(memory.get() + offset) {}
};

Chain packed(const Case& c) {
  Chain chain;
  chain.convolutional = c.convolutional;
  chain.phi = c.before.phi, chain.tau = c.before.tau, chain.m = c.before.m;
  for (const auto& from : c.layers) {
    Layer layer{from.inputs,
                from.outputs,
                panel_for(from.outputs, c.threads),
                from.window,
                from.format,
                from.after.phi,
                from.after.tau,
                from.after.m,
                from.alpha,
                {},
                {},
                {}};
    Exact weight(from.weight.size(), 0), bias(from.bias.size(), 0);
    std::copy(from.weight.begin(), from.weight.end(), weight.data);
    std::copy(from.bias.begin(), from.bias.end(), bias.data);
    pack(layer, weight.data, from.bias.empty() ? nullptr : bias.data);
    chain.layers.push_back(std::move(layer));
  }
  return chain;
}

struct Expected {
  std::vector<double> value, tolerance;
  std::vector<int64_t> active, doubtful;  // [layers]: inputs that are, and that rounding may have made so
};

void count(Expected& to, std::size_t layer, const reference::Image& y) {
  for (std::size_t k = 0; k < y.value.size(); ++k) {
    to.active[layer] += y.value[k] != 0.0;
    to.doubtful[layer] += y.tolerance[k] > 0.0 && std::fabs(y.value[k]) <= y.tolerance[k];
  }
}

// One sample through the reference.
void expect(Expected& to, const Case& c, const std::vector<std::vector<double>>& weights, const float* x) {
  reference::Image h(c.height, c.width, c.channels());
  std::copy(x, x + h.value.size(), h.value.begin());
  for (int l = c.first; l < c.last; ++l) {
    const auto at = static_cast<std::size_t>(l);
    const reference::Image y = reference::activated(l ? c.layers[at - 1].after : c.before, h);
    count(to, at, y);
    h = reference::h_of(c.layers[at], weights[at], h, y);
  }
  if (!c.raw) h = reference::activated(c.layers[static_cast<std::size_t>(c.last) - 1].after, h);
  to.value.insert(to.value.end(), h.value.begin(), h.value.end());
  to.tolerance.insert(to.tolerance.end(), h.tolerance.begin(), h.tolerance.end());
}

// The values of one output sample.
std::size_t outputs_of(const Case& c) {
  int height = c.height, width = c.width;
  for (int l = c.first; l < c.last; ++l) {
    const Window& w = c.layers[static_cast<std::size_t>(l)].window;
    height = reference::length(height, w.kernel_h, w.stride_h, w.pad_h);
    width = reference::length(width, w.kernel_w, w.stride_w, w.pad_w);
  }
  return static_cast<std::size_t>(height) * width * c.layers[static_cast<std::size_t>(c.last) - 1].outputs;
}

Expected expected(const Case& c, const std::vector<float>& x) {
  Expected all{{}, {}, std::vector<int64_t>(c.layers.size()), std::vector<int64_t>(c.layers.size())};
  std::vector<std::vector<double>> weights;
  for (const auto& layer : c.layers) weights.push_back(reference::stored(layer));
  for (int s = 0; s < c.batch; ++s) expect(all, c, weights, x.data() + s * (x.size() / c.batch));
  return all;
}

bool near(double value, double wanted, double tolerance) {
  if (std::isnan(wanted)) return std::isnan(value);
  return std::isfinite(wanted) ? std::fabs(value - wanted) <= tolerance : value == wanted;
}

bool agree(const Expected& wanted, const float* out, const std::vector<int64_t>& active) {
  for (std::size_t k = 0; k < wanted.value.size(); ++k)
    if (!near(out[k], wanted.value[k], wanted.tolerance[k])) {
      std::printf("output %zu: %g, reference %g\n", k, double{out[k]}, wanted.value[k]);
      return false;
    }
  for (std::size_t l = 0; l < active.size(); ++l)
    if (std::llabs(active[l] - wanted.active[l]) > wanted.doubtful[l]) {
      std::printf("layer %zu: %ld active, reference %ld\n", l, static_cast<long>(active[l]),
                  static_cast<long>(wanted.active[l]));
      return false;
    }
  return true;
}

Call call_of(const Case& c, const float* x, float* out, int64_t* active) {
  return {x,      out,   c.batch,   c.height,   c.width,        c.first,
          c.last, c.raw, c.threads, c.together, c.dense.data(), active};
}

bool run_case(const Case& c, const Chain& chain, Run run, const std::vector<float>& x,
              const Expected& wanted) {
  const Exact in(x.size(), c.misaligned), out(wanted.value.size(), c.misaligned);
  std::copy(x.begin(), x.end(), in.data);
  std::vector<int64_t> active(c.layers.size());
  const bool counts = c.number % 4;
  run(chain, call_of(c, in.data, out.data, counts ? active.data() : nullptr));
  return agree(wanted, out.data, counts ? active : wanted.active);
}

// By every instruction set. A thread that is new has buffers of the size of its first call; another's may
// hold what earlier calls left.
bool check(const Case& c, bool new_thread) {
  const Chain chain = packed(c);
  const std::vector<float> x = input_of(c);
  const Expected wanted = expected(c, x);
  bool good = true;
  for (const std::string& set : present_sets()) {
    const auto here = [&] { good &= run_case(c, chain, runner(set), x, wanted); };
    new_thread ? std::thread(here).join() : here();
    if (!good) std::printf("%s: %s\n", set.c_str(), describe(c).c_str());
    if (!good) return false;
  }
  return true;
}

int check_all(int cases) {
  int wrong = 0;
  for (int width = 1; width <= 300; width += std::max(1, 600 / cases))
    wrong += !check(width_case(width), width % 2);
  for (int number = 0; number < cases; ++number) wrong += !check(linear_case(number), number % 2);
  for (int number = 0; number < cases; ++number) wrong += !check(convolution_case(number), number % 2);
  return wrong;
}

// A chain of three layers on 5 samples, 2 threads together.
Case plain_case() {
  Case c = linear_case(0);
  c.before = {};
  c.layers.clear();
  Random random(0);
  for (int l = 0; l < 3; ++l) {
    c.layers.push_back(
        {97, 97, Window{}, Format::float32, {Phi::one_sided, 0, 1}, 0, std::vector<float>(97 * 97), {}});
    for (float& w : c.layers.back().weight) w = 0.1f * normal(random);
  }
  c.batch = 5, c.first = 0, c.last = 3, c.threads = 2, c.together = true, c.raw = false;
  c.density = 1.0, c.special = Special::none, c.misaligned = 0;
  c.dense.assign(3, 0);
  return c;
}

// Eight threads in one chain at once.
int check_at_once() {
  int wrong = 0;
  for (int number : {1, 3, 11, 40}) {
    for (const Case& c : {linear_case(number), convolution_case(number)}) {
      const Chain chain = packed(c);
      const std::vector<float> x = input_of(c);
      const Expected wanted = expected(c, x);
      std::vector<int> good(8);
      std::vector<std::thread> threads;
      for (int& mine : good)
        threads.emplace_back([&] {
          mine = 1;
          for (int i = 0; i < 3; ++i) mine &= run_case(c, chain, runner(""), x, wanted);
        });
      for (std::thread& thread : threads) thread.join();
      for (int mine : good) wrong += !mine;
    }
  }
  return wrong;
}

// More shares than panels.
int check_few_panels() {
  int wrong = 0;
  for (int threads : {2, 3, 7}) {
    Case c = plain_case();
    c.batch = 100, c.threads = threads, c.last = 1;
    wrong += !check(c, true);
  }
  return wrong;
}

// Helpers do join, where there is a core for them, and the answer is the same to the bit.
int check_joined() {
  Case c = plain_case();
  c.batch = 200;
  const Chain chain = packed(c);
  const std::vector<float> x = input_of(c);
  std::vector<float> first(static_cast<std::size_t>(c.batch) * 97), out(first.size());
  int wrong = 0;
  const long long before = joined_calls();
  for (int i = 0; i < 2000 && (i < 20 || joined_calls() == before); ++i) {
    std::vector<int64_t> active(3);
    runner("")(chain, call_of(c, x.data(), i ? out.data() : first.data(), active.data()));
    wrong += i && std::memcmp(first.data(), out.data(), out.size() * sizeof(float));
  }
  return wrong + (std::thread::hardware_concurrency() > 1 && joined_calls() == before);
}

// A strip of 2^31 values is refused, by a team too: no member waits for one that threw.
int check_too_large() {
  const int taps = 1 << 15;
  Case c = convolution_case(0);
  c.layers.resize(1);
  c.before = {};
  c.layers[0] = {1, 1, {taps, 1, 1, 1, taps / 2, 0, false}, Format::float32, {}, 0, std::vector<float>(taps),
                 {}};
  c.dense.resize(1);
  c.batch = c.height = c.last = 1, c.first = 0, c.width = 1 << 16, c.threads = 2, c.raw = true;
  const Chain chain = packed(c);
  const Exact x(static_cast<std::size_t>(c.width), 0), out(outputs_of(c), 0);
  int refused = 0;
  int64_t active = 0;
  for (bool together : {false, true}) try {
      c.together = together;
      runner("")(chain, call_of(c, x.data, out.data, &active));
    } catch (const std::length_error&) {
      ++refused;
    }
  return 2 - refused;
}

// Weights at which rounding to fewer bits has no answer, or none within its range.
int check_odd_weights() {
  const float nan = std::nanf(""), infinity = HUGE_VALF, smallest = 1e-45f, one = 1.0f;
  float largest_nan;
  const uint32_t bits = 0x7fffffffu;
  std::memcpy(&largest_nan, &bits, sizeof bits);
  int wrong = 0;
  for (Format format : {Format::bfloat16, Format::int8})
    for (float weight : {nan, largest_nan, infinity, 150 * smallest}) {
      Case c = width_case(1);
      c.layers.resize(1);
      c.before = {};
      c.layers[0] = {1, 1, Window{}, format, {}, 0, {weight}, {}};
      c.batch = c.last = 1, c.first = 0, c.raw = true;
      float out = 0.0f;
      int64_t active = 0;
      runner("")(packed(c), call_of(c, &one, &out, &active));
      wrong += std::isfinite(weight) ? out < 0.0f || out > 2 * weight : std::isfinite(out);
    }
  return wrong;
}

// 1 if `check` itself sees it; a sanitizer ends the program.
int planted(const std::string& name) {
  Case c = plain_case();
  if (name == "race") c.threads = 1;  // calls that share helpers are ordered by their lock
  const Chain chain = packed(c);
  std::vector<float> x = input_of(c);
  const Expected wanted = expected(c, x);
  if (name == "wrong") {
    x[7] += 0.01f;
    return !run_case(c, chain, runner(""), x, wanted);
  }
  const Exact in(x.size() - (name == "read"), 1), out(wanted.value.size() - (name == "write"), 0);
  std::memcpy(in.data, x.data(), (x.size() - 1) * sizeof(float));
  const auto run = [&](const float* from) {
    std::vector<int64_t> own(3);
    runner("")(chain, call_of(c, from, out.data, own.data()));
  };
  c.dense[0] = name == "undefined";  // reads single floats, at an address that is no multiple of four
  std::thread other(name == "race" ? std::function<void()>([&] { run(in.data); })
                                   : [] {});  // to the same output
  run(name == "undefined" ? reinterpret_cast<float*>(reinterpret_cast<char*>(in.data) - 1) : in.data);
  other.join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 && !std::strcmp(argv[1], "planted")) return planted(argv[2]);
  const int cases = argc > 1 ? std::atoi(argv[1]) : 600;
  int wrong = check_all(cases);
  wrong += check_at_once() + check_joined() + check_few_panels() + check_too_large() + check_odd_weights();
  wrong += usable_threads(3) != 3;
  std::printf("%d wrong, of %d cases of each kind by", wrong, cases);
  for (const std::string& set : present_sets()) std::printf(" %s", set.c_str());
  std::printf("\n");
  return wrong != 0;
}
