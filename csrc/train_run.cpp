// The passes of a training step. Compiled once for each instruction set, with SF_ISA as its namespace.
//
// Forward and backward: a thread owns samples. Weight gradients and updates: a thread owns inputs, that is
// rows of the weights. No sum is shared between threads, and none depends on which is faster: the same number
// of threads gives the same bits.
#include <omp.h>

#include <exception>

#include "train_weights.h"

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
  tape.parts = std::max(1, std::min(call.threads, call.batch));
  tape.held.clear();
  if (call.keep) tape.held.resize(static_cast<std::size_t>(chain.depth()) * tape.parts);
  in_parallel(tape.parts, call.threads, [&](int p) { forward_part(chain, at, call, tape, p); });
}

void backward(const TrainChain& chain, const Parameters& at, const BackwardCall& call, Tape& tape) {
  in_parallel(tape.parts, call.threads, [&](int p) { backward_part(chain, at, call, tape, p); });
}

void weights(const TrainChain& chain, const WeightCall& call, const Tape& tape) {
  in_parallel(call.threads, call.threads, [&](int t) { weights_part(chain, call, tape, t, call.threads); });
}

}  // namespace

extern const Training training{forward, backward, weights};

}  // namespace SF_ISA
}  // namespace sparsefield
