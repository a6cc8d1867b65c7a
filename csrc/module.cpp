// The Python face of the kernels: sparsefield.engine._native.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <string>

#include "chain.h"
#include "fork.h"
#include "instruction_set.h"
#include "pack.h"
#include "train_module.h"

namespace nb = nanobind;
using namespace sparsefield;

namespace {

// Addresses come as numbers, from Tensor.data_ptr(): the caller holds the tensors.
template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

class Native {
 public:
  Native(bool convolutional, int phi, float tau, float m, const std::string& set) : run_(runner(set)) {
    chain_.convolutional = convolutional;
    chain_.phi = static_cast<Phi>(phi);
    chain_.tau = tau;
    chain_.m = m;
  }

  Native(const Native&) = delete;

  void add(uintptr_t weight, uintptr_t bias, int outputs, int inputs, const std::array<int, 6>& window,
           bool circular, int format, int phi, float tau, float m, float alpha, int threads) {
    const auto [kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w] = window;
    const Window taken{kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, circular};
    Layer layer{inputs, outputs, panel_for(outputs, threads), taken, static_cast<Format>(format),
                static_cast<Phi>(phi), tau, m, alpha, {}, {}, {}};
    const std::size_t held = static_cast<std::size_t>(layer.padded()) * layer.rows();
    const std::size_t bytes = held * bytes_of(layer.format);
    layer.weights = chain_.arena.array(bytes);
    pack(layer, at<const float>(weight), at<const float>(bias));
    bytes_ += bytes;
    chain_.layers.push_back(std::move(layer));
  }

  void run(uintptr_t x, uintptr_t out, int64_t batch, int height, int width, int first, int last,
           bool raw, int threads, bool together, uintptr_t dense, uintptr_t active) const {
    Call call{at<const float>(x), at<float>(out), batch, height, width, first, last, raw,
              usable_threads(threads), together, at<const uint8_t>(dense), at<int64_t>(active)};
    run_(chain_, call);
  }

  std::size_t bytes() const { return bytes_; }

 private:
  Chain chain_;
  Run run_;
  std::size_t bytes_ = 0;
};

}  // namespace

NB_MODULE(_native, module) {
  add_training(module);
  module.def("instruction_sets", &present_sets, "Those of this machine that kernels exist for, best first.");
  nb::class_<Native>(module, "Chain")
      .def(nb::init<bool, int, float, float, const std::string&>(), nb::arg("convolutional"),
           nb::arg("phi") = 0, nb::arg("tau") = 0.0f, nb::arg("m") = 0.0f, nb::arg("instruction_set") = "")
      .def("add", &Native::add, nb::arg("weight"), nb::arg("bias"), nb::arg("outputs"), nb::arg("inputs"),
           nb::arg("window"), nb::arg("circular"), nb::arg("format"), nb::arg("phi"), nb::arg("tau"),
           nb::arg("m"), nb::arg("alpha"), nb::arg("threads"))
      .def("run", &Native::run, nb::arg("x"), nb::arg("out"), nb::arg("batch"), nb::arg("height"),
           nb::arg("width"), nb::arg("first"), nb::arg("last"), nb::arg("raw"), nb::arg("threads"),
           nb::arg("together"), nb::arg("dense"), nb::arg("active"),
           nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("bytes", &Native::bytes);
}
