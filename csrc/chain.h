// The layers of a chain, their packed weights, and the function that runs them.
//
// Weights are repacked input-major in panels of 48, 64 or 80 outputs: panel[k][64] holds what input k
// adds to 64 outputs. One active input is then one contiguous row, and the 64 sums stay in registers.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "window.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sparsefield {

constexpr int LANES = 16;    // the width of every panel is a multiple of this
constexpr int WIDEST = 80;   // outputs of the widest panel

enum class Phi : int { identity = 0, one_sided = 1, two_sided = 2, cut = 3 };
enum class Format : int { float32 = 0, bfloat16 = 1, int8 = 2 };

struct Free {
  bool owned = true;
  void operator()(void* p) const {
    if (owned) std::free(p);
  }
};

constexpr std::size_t LARGE = std::size_t{2} << 20;  // bytes of a large page

// An array of T, aligned to a cache line or, if it is large, to a large page; rounded up to whole ones,
// except where a sanitizer is to see every access beyond the end.
template <class T>
class Array {
 public:
  Array() = default;
  explicit Array(std::size_t size) { resize(size); }
  // Of `size` values that another array holds, and outlives this.
  Array(T* at, std::size_t size) : memory_(at, Free{false}), capacity_(size) {}
  // Contents are lost.
  void resize(std::size_t size) {
    if (size <= capacity_) return;
    memory_.reset();
    capacity_ = 0;  // should there be no memory, the next call must ask again
    const std::size_t wanted = size * sizeof(T), grain = wanted < LARGE ? 64 : LARGE;
#if defined(SF_EXACT)
    const std::size_t bytes = wanted;
#else
    const std::size_t bytes = (wanted + grain - 1) / grain * grain;
#endif
    void* memory = nullptr;
    if (posix_memalign(&memory, grain, bytes)) throw std::bad_alloc();
    memory_.reset(static_cast<T*>(memory));
#if defined(__linux__)
    if (grain == LARGE) madvise(memory_.get(), bytes, MADV_HUGEPAGE);  // a hint: rows are read at random
#endif
    capacity_ = size;
  }
  T* data() const { return memory_.get(); }

 private:
  std::unique_ptr<T, Free> memory_;
  std::size_t capacity_ = 0;
};

// Arrays side by side in large pages: weights are read row by row at random, and a walk through the page
// tables for each row takes as long as the row.
class Arena {
 public:
  Array<char> array(std::size_t size) {
#if !defined(SF_EXACT)
    const std::size_t bytes = (size + 63) / 64 * 64;
    if (bytes < LARGE) {
      if (taken_ + bytes > SLAB) {
        slabs_.emplace_back(SLAB);  // what is never written takes no memory
        taken_ = 0;
      }
      taken_ += bytes;
      return {slabs_.back().data() + taken_ - bytes, size};
    }
#endif
    return Array<char>(size);
  }

 private:
  static constexpr std::size_t SLAB = 16 * LARGE;
  std::vector<Array<char>> slabs_;
  std::size_t taken_ = SLAB;
};

struct Layer {
  int inputs, outputs;
  int panel;  // outputs of every panel but the last, which may be narrower
  Window window;
  Format format;
  Phi phi;
  float tau, m;
  // h = alpha * (the layer before's h) + (W y + b); 0 without a skip. The scale sqrt(1 - alpha^2)
  // of the second term is part of W and b.
  float alpha;
  Array<char> weights;  // panel p starts at p * panel * rows() elements
  Array<float> bias, scale;  // [padded outputs]; scale: int8 alone

  int panels() const { return (outputs + panel - 1) / panel; }
  std::size_t rows() const { return static_cast<std::size_t>(inputs) * window.taps(); }
  int padded() const { return panels() * panel; }
  // Outputs that panel p holds, and its width in memory.
  int held(int p) const { return p + 1 < panels() ? panel : outputs - p * panel; }
  int width(int p) const { return (held(p) + LANES - 1) / LANES * LANES; }
};

struct Chain {
  Phi phi = Phi::identity;  // of the input
  float tau = 0, m = 0;
  Arena arena;  // of the weights
  std::vector<Layer> layers;
  bool convolutional = false;
  const Layer& layer(int l) const { return layers[static_cast<std::size_t>(l)]; }
  bool any_skip() const {
    for (const Layer& layer : layers)
      if (layer.alpha != 0.0f) return true;
    return false;
  }
};

// How one call runs: layers [first, last).
struct Call {
  const float* x;  // [batch, height, width, inputs], contiguous; if first > 0, h of layer first - 1
  float* out;      // [batch, height', width', outputs], contiguous
  int64_t batch;
  int height, width;     // of the images of x; 1, 1 for fully connected chains
  int first, last;
  bool raw;              // out is the last layer's h, not phi(h)
  int threads;
  bool together;         // the threads share each layer's outputs, not the samples
  const uint8_t* dense;  // [layers]: multiply by every input, not by the active alone; convolutions never
  int64_t* active;       // [layers]: active inputs met, to be added to; or null
};

using Run = void (*)(const Chain&, const Call&);

// One copy of the same source for each instruction set.
namespace avx512 { void run(const Chain&, const Call&); }
namespace avx2 { void run(const Chain&, const Call&); }
namespace baseline { void run(const Chain&, const Call&); }

}  // namespace sparsefield
