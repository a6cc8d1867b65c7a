// Training on lists: the layers of a chain, whose weights stay where PyTorch has them, and the passes of a
// step over them.
//
// A weight [outputs, inputs] lies input-major in memory: row k holds what input k adds to every output.
// Forward sums rows, the input gradient is dot products with rows, and the weight gradient is made row by
// row; so nothing is repacked when an optimiser has changed the weights. A convolution's [outputs, inputs,
// kernel_h, kernel_w] lies as [kernel_h, kernel_w, inputs, outputs]: such a matrix for each tap.
#pragma once

#include "chain.h"
#include "tape.h"

namespace sparsefield {

// h = alpha * (the layer before's h) + scale * (W y + b), where y = phi(the layer before's h).
struct TrainLayer {
  int inputs, outputs;
  float alpha, scale;
  Phi phi;
  float tau, m;
  Window window{};
};

struct TrainChain {
  std::vector<TrainLayer> layers;
  bool convolutional = false;
  int depth() const { return static_cast<int>(layers.size()); }
  const TrainLayer& layer(int l) const { return layers[static_cast<std::size_t>(l)]; }
};

// The parameters of a chain: weights input-major, and biases or null.
struct Parameters {
  std::vector<const float*> weight, bias;
};

struct ForwardCall {
  const float* x;  // [batch, inputs of the first layer], contiguous; phi has not been applied to it
  float* out;      // [batch, outputs of the last layer]: its h
  int batch, threads;
  bool keep;  // fill the tape
  Image image{1, 1};  // the size of those of x, [batch, height, width, inputs]; of out likewise
};

struct BackwardCall {
  const float* gradient;  // [batch, outputs of the last layer], of its h
  float* x_gradient;      // of x; or null
  int lowest;             // the first layer whose inputs' gradient is needed
  int threads;
  // [layers]: what the gradient of an active, unclipped input has besides, times its sign; [inputs], or null.
  // Or empty, where no layer is pushed.
  std::vector<const float*> push;
};

enum class Rule : int { none = 0, gradient = 1, sgd = 2, adam = 3 };

// What becomes of the gradient of one tensor. Whatever the rule, `to` is the tensor itself or, for
// Rule::gradient, where its gradient is written.
struct Update {
  Rule rule = Rule::none;
  float *to = nullptr, *first = nullptr, *second = nullptr;  // first, second: the moments, or null
  uint8_t* live = nullptr;        // [inputs]: 0 where both moments of a weight's row are all zero
  float lr = 0;                   // Adam: over the first bias correction
  float decay = 0;                // is added to the gradient, times the parameter
  float shrink = 1;               // the parameter is multiplied by it first
  float momentum = 0, added = 1;  // SGD: first = momentum * first + added * gradient
  bool nesterov = false;
  float beta1 = 0, beta2 = 0, eps = 0, correction = 1;  // Adam: root of the second bias correction
};

struct WeightCall {
  const float* gradient;  // as backward was given
  int threads;
  std::vector<Update> weight, bias;  // [layers]
};

struct Training {
  void (*forward)(const TrainChain&, const Parameters&, const ForwardCall&, Tape&);
  // Fills the tape's gradients.
  void (*backward)(const TrainChain&, const Parameters&, const BackwardCall&, Tape&);
  // From a tape that backward has filled.
  void (*weights)(const TrainChain&, const WeightCall&, const Tape&);
};

namespace avx512 {
extern const Training training;
}
namespace avx2 {
extern const Training training;
}
namespace baseline {
extern const Training training;
}

}  // namespace sparsefield
