// Chains, inputs and ways of running, drawn at random from a seed: the number of the case.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "reference.h"

namespace sparsefield {

enum class Special { none, nan, infinity, denormal };

struct Case {
  int number;
  bool convolutional;
  reference::Activation before;  // of the input
  std::vector<reference::Plain> layers;
  std::vector<uint8_t> dense;
  int batch, height, width, first, last, threads;
  bool raw, together;
  double density;
  Special special;
  int misaligned;  // floats between the start of the memory and the input, and of the output

  int channels() const {
    return first ? layers[static_cast<std::size_t>(first) - 1].outputs : layers[0].inputs;
  }
};

using Random = std::mt19937;

inline int below(Random& random, int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); }
inline int one_of(Random& random, const std::vector<int>& values) {
  return values[static_cast<std::size_t>(below(random, static_cast<int>(values.size())))];
}
inline float normal(Random& random) { return std::normal_distribution<float>()(random); }

// A case of fully connected layers, or of convolutions.
Case linear_case(int number);
Case convolution_case(int number);
// Every width from 1 to 300, one after the other.
Case width_case(int width);
// Inputs of [batch, height, width, channels].
std::vector<float> input_of(const Case& c);
std::string describe(const Case& c);

}  // namespace sparsefield
