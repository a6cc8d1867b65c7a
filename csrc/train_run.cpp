// The passes of a training step. Compiled once for each instruction set, with SF_ISA as its namespace.
//
// Forward and backward: a thread owns samples. Weight gradients and updates: a thread owns inputs, that is
// rows of the weights. No sum is shared between threads, and none depends on which is faster: the same number
// of threads gives the same bits.
#include <omp.h>

#include <exception>

#include "train_convolution_weights.h"

namespace sparsefield {
namespace SF_ISA {
namespace {

template <class Then>
void in_parallel(int parts, int threads, Then f) {
  std::exception_ptr failure;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int p = 0; p < parts; ++p) {
    try {
      const Flush flushed;
      f(p);
    } catch (...) {
#pragma omp critical
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void forward(const TrainChain& chain, const Parameters& at, const ForwardCall& call, Tape& tape) {
  tape.batch = call.batch;
  tape.stages.clear();
  if (chain.convolutional) tape.stages = stages_of(windows(chain), call.image);
  tape.parts = chain.convolutional ? parts_of_images(chain, call, tape)
                                   : std::max(1, std::min(call.threads, call.batch));
  tape.held.clear();
  if (call.keep || chain.convolutional)
    tape.held.resize(static_cast<std::size_t>(chain.depth()) * tape.parts);
  const auto part = chain.convolutional ? forward_images : forward_part;
  in_parallel(tape.parts, call.threads, [&](int p) { part(chain, at, call, tape, p); });
}

void backward(const TrainChain& chain, const Parameters& at, const BackwardCall& call, Tape& tape) {
  const auto part = chain.convolutional ? backward_images : backward_part;
  in_parallel(tape.parts, call.threads, [&](int p) { part(chain, at, call, tape, p); });
}

void weights(const TrainChain& chain, const WeightCall& call, const Tape& tape) {
  const auto part = chain.convolutional ? convolution_weights_part : weights_part;
  in_parallel(call.threads, call.threads, [&](int t) { part(chain, call, tape, t, call.threads); });
}

}  // namespace

extern const Training training{forward, backward, weights};

}  // namespace SF_ISA
}  // namespace sparsefield
