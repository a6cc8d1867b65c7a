// The Python face of training.
#include "train_module.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>

#include "fork.h"
#include "instruction_set.h"
#include "train.h"

namespace nb = nanobind;

namespace sparsefield {
namespace {

using Addresses = std::vector<uintptr_t>;

// Addresses come as numbers, from Tensor.data_ptr(): the caller holds the tensors.
template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

std::vector<const float*> tensors(const Addresses& addresses) {
  std::vector<const float*> found;
  for (uintptr_t address : addresses) found.push_back(at<const float>(address));
  return found;
}

// One tensor's: its group's number, or -1 if nothing becomes of it; itself, its moments, its live rows.
using Target = std::tuple<int, uintptr_t, uintptr_t, uintptr_t, uintptr_t>;
// A group's: rule, lr, decay, shrink, momentum, added, nesterov, beta1, beta2, eps, correction.
using Group = std::vector<double>;

Update update_of(const Target& target, const std::vector<Group>& groups) {
  const auto [number, to, first, second, live] = target;
  if (number < 0) return {};
  const Group& group = groups.at(static_cast<std::size_t>(number));
  const auto value = [&](std::size_t i) { return static_cast<float>(group.at(i)); };
  return {static_cast<Rule>(static_cast<int>(group.at(0))),
          at<float>(to),
          at<float>(first),
          at<float>(second),
          at<uint8_t>(live),
          value(1),
          value(2),
          value(3),
          value(4),
          value(5),
          value(6) != 0.0f,
          value(7),
          value(8),
          value(9),
          value(10)};
}

class NativeTraining {
 public:
  explicit NativeTraining(const std::string& set) : training_(trainer(set)) {}
  NativeTraining(const NativeTraining&) = delete;

  // window: kernel, stride and padding as (height, width), and whether padding is circular; none of a fully
  // connected layer.
  void add(int inputs, int outputs, float alpha, float scale, int phi, float tau, float m,
           const std::vector<int>& window) {
    TrainLayer layer{inputs, outputs, alpha, scale, static_cast<Phi>(phi), tau, m};
    const auto size = [&](std::size_t i) { return window.at(i); };
    if (!window.empty()) layer.window = {size(0), size(1), size(2), size(3), size(4), size(5), size(6) != 0};
    chain_.convolutional = !window.empty();
    chain_.layers.push_back(layer);
  }

  std::unique_ptr<Tape> forward(uintptr_t x, uintptr_t out, int batch, int height, int width, int threads,
                                bool keep,
                                const Addresses& weights, const Addresses& biases) const {
    auto tape = std::make_unique<Tape>();
    const Parameters parameters{tensors(weights), tensors(biases)};
    const nb::gil_scoped_release released;
    training_.forward(chain_, parameters,
                      {at<const float>(x),
                       at<float>(out),
                       batch,
                       usable_threads(threads),
                       keep,
                       {height, width}},
                      *tape);
    return tape;
  }

  void backward(Tape& tape, uintptr_t gradient, uintptr_t x_gradient, int lowest, int threads,
                const Addresses& weights, const Addresses& push) const {
    const Parameters parameters{tensors(weights), {}};
    const std::vector<const float*> pushes = tensors(push);
    const nb::gil_scoped_release released;
    training_.backward(chain_, parameters,
                       {at<const float>(gradient), at<float>(x_gradient), lowest,
                        usable_threads(threads), pushes},
                       tape);
  }

  void weights(const Tape& tape, uintptr_t gradient, int threads, const std::vector<Group>& groups,
               const std::vector<Target>& weights, const std::vector<Target>& biases) const {
    WeightCall call{at<const float>(gradient), usable_threads(threads), {}, {}};
    for (const Target& target : weights) call.weight.push_back(update_of(target, groups));
    for (const Target& target : biases) call.bias.push_back(update_of(target, groups));
    const nb::gil_scoped_release released;
    training_.weights(chain_, call, tape);
  }

  // [inputs of the first layer, of the second, ...]: at how many sites each is active, and its values' sizes.
  void add_active(const Tape& tape, uintptr_t count, uintptr_t size, int threads) const {
    std::vector<std::size_t> begin{0};
    for (const TrainLayer& layer : chain_.layers) begin.push_back(begin.back() + layer.inputs);
    const nb::gil_scoped_release released;
#pragma omp parallel for num_threads(usable_threads(threads))
    for (int l = 0; l < chain_.depth(); ++l)
      tape.add_active(l, at<float>(count) + begin[l], at<float>(size) + begin[l]);
  }

 private:
  TrainChain chain_;
  const Training& training_;
};

}  // namespace

void add_training(nb::module_& module) {
  nb::class_<Tape>(module, "Tape").def_prop_ro("bytes", &Tape::bytes);
  nb::class_<NativeTraining>(module, "Training")
      .def(nb::init<const std::string&>(), nb::arg("instruction_set") = "")
      .def("add", &NativeTraining::add, nb::arg("inputs"), nb::arg("outputs"), nb::arg("alpha"),
           nb::arg("scale"), nb::arg("phi"), nb::arg("tau"), nb::arg("m"), nb::arg("window"))
      .def("forward", &NativeTraining::forward, nb::arg("x"), nb::arg("out"), nb::arg("batch"),
           nb::arg("height"), nb::arg("width"), nb::arg("threads"), nb::arg("keep"),
           nb::arg("weights"), nb::arg("biases"))
      .def("backward", &NativeTraining::backward, nb::arg("tape"), nb::arg("gradient"), nb::arg("x_gradient"),
           nb::arg("lowest"), nb::arg("threads"), nb::arg("weights"), nb::arg("push") = Addresses{})
      .def("add_active", &NativeTraining::add_active, nb::arg("tape"), nb::arg("count"), nb::arg("size"),
           nb::arg("threads"))
      .def("weights", &NativeTraining::weights, nb::arg("tape"), nb::arg("gradient"), nb::arg("threads"),
           nb::arg("groups"), nb::arg("weights"), nb::arg("biases"));
}

}  // namespace sparsefield
